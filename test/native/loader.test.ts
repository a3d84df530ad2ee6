/** The way from the first instruction of the executable to its engine, with the dynamic loader and without. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { saveDeletion } from "../../src/container/deletion-record.ts";
import { DeleteResponse } from "../../src/gen/containerd/task/v2/task.ts";
import { executableName } from "../../src/version.ts";
import { runShim } from "../command/shim-process.ts";
import { buildExecutable, executable } from "../compiled.ts";

const TIMEOUT_MS = 60_000;
const LOADERS: Readonly<Record<string, string>> = {
  x64: "/lib64/ld-linux-x86-64.so.2",
  arm64: "/lib/ld-linux-aarch64.so.1",
};
const loader = LOADERS[process.arch] ?? "";
const directory = mkdtempSync(join(tmpdir(), "wedge-"));

beforeAll(buildExecutable, TIMEOUT_MS);

afterAll(() => rmSync(directory, { recursive: true }));

/** Runs the executable as `/wedge` in a root that has nothing but `bundle`. */
async function runAlone(words: readonly string[]) {
  const root = mkdtempSync(join(directory, "root-"));
  writeFileSync(join(root, "wedge"), "");
  mkdirSync(join(root, "bundle"));
  saveDeletion(join(root, "bundle"), ANSWER);
  const script = `mount --bind ${executable} ${root}/wedge && exec chroot ${root} /wedge "$@"`;
  return await runShim(words, {
    cwd: "/",
    program: ["unshare", "--mount", "sh", "-c", script, "sh"],
  });
}

const ANSWER = DeleteResponse.encode({ pid: 7, exitStatus: 3, exitedAt: undefined }).finish();
const SHORT = [
  ...["-namespace", "n", "-address", "/a", "-publish-binary", "/p", "-id", "i"],
  ...["-bundle", "/bundle", "delete"],
];

describe("where there is no dynamic loader", () => {
  test("the short commands do without", async () => {
    const { exitCode, stdout, stderr } = await runAlone(SHORT);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(Buffer.from(stdout)).toEqual(Buffer.from(ANSWER));
  });

  test("all else says what it lacks", async () => {
    const { exitCode, stdout, stderr } = await runAlone(["-v"]);
    expect({ exitCode, stdout: stdout.toString() }).toEqual({ exitCode: 127, stdout: "" });
    expect(stderr).toBe(
      `containerd-shim-wedge-v2: cannot load the dynamic loader of the C library: it needs glibc, at ${loader}\n`,
    );
  });
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
