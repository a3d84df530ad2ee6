/**
 * Compiles `src/main.ts` into one executable, `dist/containerd-shim-wedge-v2`, with `dist/shim` next to
 * it: the same file under the name that makes it the debugging command. And the library for programs
 * into `dist/library`: JavaScript and types, as package.json exports them.
 *
 *     bun scripts/build.ts            does nothing when nothing has changed
 *     bun scripts/build.ts --force
 */

import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Glob } from "bun";
import { execa } from "execa";
import { executableName } from "../src/version.ts";
import {
  compileFunction,
  compileGuardian,
  compileSleeper,
  hasCompiler,
  joinLauncher,
} from "./native.ts";

const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");
const executable = join(dist, executableName);
const library = join(dist, "library");
const libraryProject = join(root, "scripts/library.tsconfig.json");
const stampFile = join(dist, ".stamp");

/** The version of package.json. */
async function readVersion(): Promise<string> {
  const json: { version: string } = await Bun.file(join(root, "package.json")).json();
  return json.version;
}

/** The commit that is checked out, marked when sources differ from it; "unknown" outside of git. */
async function readRevision(): Promise<string> {
  const git = execa({ cwd: root, reject: false });
  const head = await git`git rev-parse HEAD`;
  if (head.failed) return "unknown";
  const changes = await git`git status --porcelain -- src package.json package-lock.json`;
  return changes.stdout === "" ? head.stdout : `${head.stdout}-modified`;
}

/** A digest of everything from which the executable is made. */
async function digestInputs(definitions: readonly string[]): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  hash.update(`${Bun.version} ${process.arch} ${definitions.join(" ")}`);
  const inputs = [
    "package-lock.json",
    "scripts/build.ts",
    "scripts/native.ts",
    "scripts/executable.ts",
  ];
  inputs.push("scripts/library.tsconfig.json", "tsconfig.json");
  for (const path of [...inputs, ...new Glob("src/**").scanSync(root)].sort()) {
    hash.update(`\0${path}\0`);
    hash.update(await readFile(join(root, path)));
  }
  return hash.digest("hex");
}

/**
 * The native programs that a shim executes, as base64: embedded in the executable, so that it stays one
 * file. Empty where there is no C compiler: then the shim never sleeps, and the engine does everything itself.
 */
async function encodePrograms(): Promise<Readonly<Record<string, string>>> {
  const isThere = await hasCompiler();
  if (!isThere)
    process.stderr.write(
      "no C compiler (cc): this wedge will never sleep, and start more slowly\n",
    );
  const encode = async (compileOne: () => Promise<Uint8Array | undefined>) =>
    Buffer.from((isThere ? await compileOne() : undefined) ?? []).toString("base64");
  return {
    WEDGE_SLEEPER: await encode(compileSleeper),
    WEDGE_GUARDIAN: await encode(compileGuardian),
    WEDGE_SUCCESSOR: await encode(() => compileFunction("successor")),
    WEDGE_REJOIN: await encode(() => compileFunction("rejoin")),
  };
}

/**
 * Compiles into `dist`. The result is moved into place, so that an executable that is running, or
 * that another build made meanwhile, is replaced and never written to.
 */
async function compile(definitions: readonly string[], stamp: string): Promise<void> {
  const workspace = join(dist, `.build-${process.pid}`);
  await mkdir(workspace, { recursive: true });
  try {
    const outfile = join(workspace, executableName);
    const options = [
      ...["--compile", "--bytecode", "--minify", "--format=esm", "--target=bun"],
      // In one piece, every command would load at once whatever any of them imports from the engine.
      "--splitting",
      // Its working directory is a bundle: nothing in there may change what it does.
      ...["--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig"],
      ...definitions.flatMap((definition) => ["--define", definition]),
    ];
    const built = await execa(
      process.execPath,
      ["build", join(root, "src/main.ts"), ...options, "--outfile", outfile],
      { cwd: workspace, reject: false, all: true },
    );
    if (built.failed) throw new Error(`Cannot build ${executableName}:\n${built.all}`);
    if (await hasCompiler()) await joinLauncher(outfile);
    const emitted = await execa(
      "tsc",
      ["-p", libraryProject, "--outDir", join(workspace, "library")],
      { cwd: root, preferLocal: true, reject: false, all: true },
    );
    if (emitted.failed) throw new Error(`Cannot build the library:\n${emitted.all}`);
    await rm(library, { recursive: true, force: true });
    await rename(join(workspace, "library"), library);
    const link = join(workspace, "shim");
    await symlink(executableName, link);
    await rename(outfile, executable);
    await rename(link, join(dist, "shim"));
    await writeFile(join(workspace, "stamp"), stamp);
    await rename(join(workspace, "stamp"), stampFile);
  } finally {
    await rm(workspace, { recursive: true, force: true });
  }
}

async function build(isForced: boolean): Promise<void> {
  const programs = await encodePrograms();
  const definitions = [
    `WEDGE_VERSION="${await readVersion()}"`,
    `WEDGE_REVISION="${await readRevision()}"`,
    ...Object.entries(programs).map(([name, image]) => `${name}="${image}"`),
  ];
  const stamp = await digestInputs(definitions);
  const isThere = [executable, library, stampFile].every((path) => existsSync(path));
  if (!isForced && isThere && (await readFile(stampFile, "utf8")) === stamp) return;
  const startedAtMs = performance.now();
  await compile(definitions, stamp);
  const megabytes = Bun.file(executable).size / 1e6;
  const seconds = (performance.now() - startedAtMs) / 1000;
  process.stderr.write(
    `built dist/${executableName}: ${megabytes.toFixed(0)} MB in ${seconds.toFixed(1)} s\n`,
  );
}

try {
  await build(process.argv.includes("--force"));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
