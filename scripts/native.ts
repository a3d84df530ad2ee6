/**
 * Compiles the native programs (`src/native`): the sleeper and the guardian, programs of their own, and
 * the launcher, which is joined to the executable. All are static, without libc, a few pages.
 */

import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { ADDRESS_FILE } from "../src/bundle/address.ts";
import { DELETION_BYTES_MAX, DELETION_FILE } from "../src/bundle/deletion-record.ts";
import {
  DROPPED_PREFIXES,
  DROPPED_VARIABLES,
  ENGINE_SETTINGS,
  HEEDED_SIGNALS,
} from "../src/command/invocation/daemon-settings.ts";
import { HUGE_PAGES_ENTRY, LAUNCHER_VARIABLE } from "../src/command/invocation/environment.ts";
import { VALUE_FLAGS } from "../src/command/invocation/invocation.ts";
import {
  SPARE_READY,
  SPARE_REFUSES,
  SPARE_WORDS_BYTES,
  SPARES_DIRECTORY,
} from "../src/command/spare/spare.ts";
import { JOURNAL_FILE } from "../src/event/journal-file.ts";
import { HANDOFF_VARIABLE } from "../src/handoff/variables.ts";
import { debugCommandName } from "../src/version.ts";
import {
  type Header,
  joinCode,
  type Layout,
  PT_INTERP,
  PT_PHDR,
  readCode,
  readLayout,
} from "./executable.ts";

const sources = join(import.meta.dirname, "../src/native");

const COMPILER_OPTIONS: readonly string[] = [
  ...["-static", "-nostdlib", "-ffreestanding", "-fno-pie", "-no-pie", "-Os", "-s"],
  ...["-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-Wall", "-Wextra", "-Werror"],
  // Calls of a libc that is not there.
  "-fno-tree-loop-distribute-patterns",
  // Small, and reproducible from build to build.
  ...["-Wl,--build-id=none", "-Wl,-z,noseparate-code", "-Wl,-z,norelro", "-Wl,-z,noexecstack"],
];

/** Whether this machine has a C compiler. */
export async function hasCompiler(): Promise<boolean> {
  const { failed } = await execa("cc", ["--version"], { reject: false });
  return !failed;
}

/** The program of a sleeping shim. Throws Error with the compiler's output. */
export async function compileSleeper(): Promise<Uint8Array> {
  return await compile("sleeper", []);
}

/** Processors whose registers the guardian knows, as `process.arch`. */
const GUARDED: ReadonlySet<string> = new Set(["x64"]);

/** The guardian of upgrades; undefined where there is none for this processor. Throws as {@link compileSleeper}. */
export async function compileGuardian(): Promise<Uint8Array | undefined> {
  return GUARDED.has(process.arch) ? await compile("guardian", []) : undefined;
}

/** A function of the program's name that may be loaded anywhere, and begins there. Throws as {@link compileSleeper}. */
export async function compileFunction(name: "rejoin" | "successor"): Promise<Uint8Array> {
  const { code, entry } = readCode(
    await compile(name, [
      ...["-fpie", `-Wl,-e,${name}`],
      ...["-Wl,-N", "-Wl,-Ttext=0", "-Wl,--no-warn-rwx-segments"],
    ]),
  );
  if (entry !== 0n) throw new Error(`${name} does not begin its code`);
  return code;
}

/** Makes `executable`, a compiled one, begin with the launcher. Throws Error with the compiler's output. */
export async function joinLauncher(executable: string): Promise<void> {
  const engine = new Uint8Array(await readFile(executable));
  const layout = readLayout(engine);
  const { freeAddress } = layout;
  const definitions = { ...launcherDefinitions(), ...loaderDefinitions(layout) };
  const program = await compile("launcher", [
    ...Object.entries(definitions).map(([name, value]) => `-D${name}=${value}`),
    "-Wl,-e,launcher_entry",
    // One segment, at that address, of code and what it reads.
    ...["-Wl,-N", `-Wl,-Ttext=0x${freeAddress.toString(16)}`, "-Wl,--no-warn-rwx-segments"],
  ]);
  const launcher = readCode(program);
  await writeFile(executable, joinCode(engine, { ...launcher, address: freeAddress }));
  await chmod(executable, 0o755);
}

function launcherDefinitions(): Readonly<Record<string, string>> {
  return {
    ENGINE_SETTINGS: cList(ENGINE_SETTINGS),
    DROPPED_NAMES: cList(DROPPED_VARIABLES),
    DROPPED_PREFIXES: cList(DROPPED_PREFIXES),
    LAUNCHER_VARIABLE: cText(LAUNCHER_VARIABLE),
    HUGE_PAGES_ENTRY: cText(HUGE_PAGES_ENTRY),
    DELETION_FILE: cText(DELETION_FILE),
    DELETION_BYTES_MAX: String(DELETION_BYTES_MAX),
    OBSTACLES: cList([ADDRESS_FILE, JOURNAL_FILE]),
    DEBUG_NAME: cText(debugCommandName),
    VALUE_FLAGS: cList(VALUE_FLAGS),
    SPARES_DIRECTORY: cText(SPARES_DIRECTORY),
    SPARE_READY: String(SPARE_READY),
    SPARE_REFUSES: String(SPARE_REFUSES),
    SPARE_WORDS_BYTES: String(SPARE_WORDS_BYTES),
    HEEDED_SIGNALS: `${HEEDED_SIGNALS.reduce((set, signal) => set | (1n << BigInt(signal - 1)), 0n)}UL`,
  };
}

/** What the launcher has to know to enter the engine (`loader.h`). */
function loaderDefinitions(layout: Layout): Readonly<Record<string, string>> {
  return {
    ENGINE_ENTRY: `${layout.entry}UL`,
    ENGINE_HEADERS: layout.headers.map(cHeader).join(", "),
    ENGINE_HEADER_COUNT: String(layout.headers.length),
    LOADER_PATH: cText(layout.loaderPath),
    HANDOFF_NAME: cText(HANDOFF_VARIABLE),
  };
}

/** A `struct elf_segment`; the launcher has its own copies of the table and the path, which tools may move. */
function cHeader({ address, ...header }: Header): string {
  const { type, flags, offset, physical, fileBytes, memoryBytes, alignment } = header;
  const places: Readonly<Record<string, string>> = {
    [PT_PHDR]: "(word)engine_headers",
    [PT_INTERP]: "(word)loader_path",
  };
  const place = places[String(type)] ?? `${address}UL`;
  const sizes = [physical, fileBytes, memoryBytes, alignment].map((size) => `${size}UL`);
  return `{${[type, flags, `${offset}UL`, place, ...sizes].join(", ")}}`;
}

/** A literal of C. */
function cText(text: string): string {
  return JSON.stringify(text);
}

/** Words that each end with a NUL, the last with two. */
function cList(words: readonly string[]): string {
  return words.map((word) => `"${word}\\0"`).join(" ");
}

async function compile(name: string, options: readonly string[]): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), "wedge-native-"));
  try {
    const target = join(folder, name);
    const source = join(sources, `${name}.c`);
    const built = await execa("cc", [...COMPILER_OPTIONS, ...options, "-o", target, source], {
      reject: false,
      all: true,
    });
    if (built.failed) throw new Error(`Cannot build the ${name}:\n${built.all}`);
    return new Uint8Array(await readFile(target));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
