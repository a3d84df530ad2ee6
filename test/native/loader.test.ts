/** The way from the first instruction of the executable to its engine, with the dynamic loader and without. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { saveDeletion } from "../../src/bundle/deletion-record.ts";
import { DeleteResponse } from "../../src/gen/containerd/task/v2/task.ts";
import { makeFifo } from "../../src/linux/fifo.ts";
import { executableName } from "../../src/version.ts";
import { runShim } from "../command/shim-process.ts";
import { buildExecutable, executable } from "../compiled.ts";

const TIMEOUT_MS = 60_000;
const ENOENT = 2;
const ENOEXEC = 8;
const LOADERS: Readonly<Record<string, string>> = {
  x64: "/lib64/ld-linux-x86-64.so.2",
  arm64: "/lib/ld-linux-aarch64.so.1",
};
const loader = LOADERS[process.arch] ?? "";
const directory = mkdtempSync(join(tmpdir(), "wedge-"));

beforeAll(buildExecutable, TIMEOUT_MS);

afterAll(() => rmSync(directory, { recursive: true }));

/** A root that has nothing but `bundle` and the executable, as `/wedge`, to those who enter it by `program`. */
function makeRoot() {
  const root = mkdtempSync(join(directory, "root-"));
  writeFileSync(join(root, "wedge"), "");
  mkdirSync(join(root, "bundle"));
  saveDeletion(join(root, "bundle"), ANSWER);
  mkdirSync(join(root, dirname(loader)), { recursive: true });
  const script = `mount --bind ${executable} ${root}/wedge && exec chroot ${root} /wedge "$@"`;
  return { root, program: ["unshare", "--mount", "sh", "-c", script, "sh"] };
}

async function runIn({ program }: ReturnType<typeof makeRoot>, words: readonly string[]) {
  return await runShim(words, { cwd: "/", program });
}

const ANSWER = DeleteResponse.encode({ pid: 7, exitStatus: 3, exitedAt: undefined }).finish();
const SHORT = [
  ...["-namespace", "n", "-address", "/a", "-publish-binary", "/p", "-id", "i"],
  ...["-bundle", "/bundle", "delete"],
];

/** What it says of a loader that it cannot load. */
function refusalOf(error: number): string {
  return `containerd-shim-wedge-v2: cannot load ${loader}, the dynamic loader of glibc: error ${error}\n`;
}

describe("where there is no dynamic loader", () => {
  test("the short commands do without", async () => {
    const { exitCode, stdout, stderr } = await runIn(makeRoot(), SHORT);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(Buffer.from(stdout)).toEqual(Buffer.from(ANSWER));
  });

  test("all else says what it lacks", async () => {
    const { exitCode, stdout, stderr } = await runIn(makeRoot(), ["-v"]);
    expect({ exitCode, stdout: stdout.toString() }).toEqual({ exitCode: 127, stdout: "" });
    expect(stderr).toBe(refusalOf(ENOENT));
  });

  test("a shim that goes on as this program waits for it", async () => {
    const { root, program } = makeRoot();
    const child = Bun.spawn([...program, "-namespace", "n", "-id", "i"], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { PATH: process.env["PATH"], WEDGE_HANDOFF: "3:4" },
    });
    using _end = { [Symbol.dispose]: () => child.kill("SIGKILL") };
    const reader = child.stderr.getReader();
    // Once, and then it waits.
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe(refusalOf(ENOENT));
    await Bun.sleep(300);
    expect(child.exitCode).toBe(null);
    cpSync(loader, join(root, loader), { dereference: true });
    // From here on it is the loader that says what it lacks.
    expect(await child.exited).toBe(127);
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toContain("libc.so.6");
  });

  test.each([
    ["with an action", SHORT.with(-1, "start"), "3:4"],
    ["with an empty variable", [], ""],
  ])("who comes %s is no such shim", async (_what, words, value) => {
    const { program } = makeRoot();
    const env = { WEDGE_HANDOFF: value };
    const { exitCode, stderr } = await runShim(words, { cwd: "/", program, env });
    expect({ exitCode, stderr }).toEqual({ exitCode: 127, stderr: refusalOf(ENOENT) });
  });
});

test.each([
  [
    "is cut short",
    (path: string) => writeFileSync(path, readFileSync(loader).subarray(0, 100_000)),
  ],
  [
    "is no more than its header",
    (path: string) => writeFileSync(path, readFileSync(loader).subarray(0, 64)),
  ],
  ["is something else", (path: string) => writeFileSync(path, "#!/bin/sh\n".repeat(1000))],
  ["is nothing to be read", (path: string) => makeFifo(path, 0o700)],
  [
    "is for another processor",
    (path: string) => {
      const bytes = readFileSync(loader);
      bytes.writeUInt16LE(0x28, 18);
      writeFileSync(path, bytes);
    },
  ],
])("a loader that %s is refused", async (_what, make) => {
  const place = makeRoot();
  make(join(place.root, loader));
  const { exitCode, stderr } = await runIn(place, ["-v"]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 127, stderr: refusalOf(ENOEXEC) });
});

describe("the engine", () => {
  test("is bound to its libraries by the loader that the launcher has loaded", () => {
    const child = Bun.spawnSync([executable, "-v"], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { LD_DEBUG: "libs" },
    });
    expect(child.stdout.toString()).toContain(executableName);
    expect(child.stderr.toString()).toMatch(/initialize program: .*containerd-shim-wedge-v2/);
  });

  test("is entered at once where a loader has been before", () => {
    const trace = join(directory, "trace");
    const child = Bun.spawnSync(
      ["strace", "-o", trace, "-e", "trace=openat", loader, executable, "-v"],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    expect(child.stdout.toString()).toContain(executableName);
    expect(readFileSync(trace, "utf8")).not.toContain(`"${loader}"`);
  });
});
