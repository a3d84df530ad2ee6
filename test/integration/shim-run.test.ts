/** The `shim` command: a bundle under a shim of its own, with no manager, over real runc. */

import { afterAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BundleOptions, makeBundle } from "../fake/bundle.ts";

const SHIM = join(import.meta.dirname, "../../dist/shim");
const SOCKETS = "/run/containerd/s";

const cleanup = new DisposableStack();
afterAll(() => cleanup.dispose());

function bundleOf(options: BundleOptions) {
  return cleanup.use(makeBundle(options));
}

/** Where the shim of a container listens, named as every shim names it. */
function socketOf(id: string): string {
  return join(SOCKETS, createHash("sha256").update(`default/${id}`).digest("hex"));
}

async function shim(args: readonly string[], input?: Uint8Array | string) {
  const stdin = input === undefined ? "ignore" : Buffer.from(input);
  const child = Bun.spawn([SHIM, ...args], { stdin, stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).bytes(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, stderr, stdout: Buffer.from(stdout).toString(), bytes: stdout };
}

describe("shim --id --bundle", () => {
  test.each([
    ["exit 0", 0],
    ["exit 7", 7],
    ["kill -9 $$", 137],
  ])("passes the exit status of `%s` on: %i", async (script, code) => {
    // Init of a pid namespace cannot kill itself.
    const { id, path } = bundleOf({ script: `sh -c '${script}'; exit $?` });
    expect((await shim(["--id", id, "--bundle", path])).code).toBe(code);
    expect(existsSync(socketOf(id))).toBe(false);
    expect(existsSync(`/run/containerd/runc/default/${id}`)).toBe(false);
    expect(readdirSync(path).sort()).toEqual(["config.json", "rootfs"]);
  });

  test("carries both outputs, and input to its end", async () => {
    const { id, path } = bundleOf({ script: "echo out; echo err >&2; cat" });
    const result = await shim(["--id", id, "--bundle", path], "in\n");
    expect(result).toMatchObject({ code: 0, stdout: "out\nin\n", stderr: "err\n" });
  });

  test("10 MB through cat come back unchanged", async () => {
    const { id, path } = bundleOf({ args: ["cat"] });
    const input = new Uint8Array(10 << 20);
    for (let at = 0; at < input.length; at += 65536) {
      crypto.getRandomValues(input.subarray(at, at + 65536));
    }
    const { code, bytes } = await shim(["--id", id, "--bundle", path], input);
    const hash = (data: Uint8Array) => createHash("sha256").update(data).digest("hex");
    expect({ code, hash: hash(bytes) }).toEqual({ code: 0, hash: hash(input) });
  });

  test("the old positional form works", async () => {
    const { id, path } = bundleOf({ script: "echo hi; exit 3" });
    expect(await shim([id, path, "runc"])).toMatchObject({ code: 3, stdout: "hi\n" });
  });

  test("signals are passed on", async () => {
    const { id, path } = bundleOf({
      script: "trap 'echo got TERM; exit 5' TERM; echo ready; while :; do sleep 0.05; done",
    });
    const child = Bun.spawn([SHIM, "--id", id, "--bundle", path], { stdout: "pipe" });
    let output = "";
    for await (const chunk of child.stdout) {
      output += Buffer.from(chunk).toString();
      if (output === "ready\n") child.kill("SIGTERM");
    }
    expect({ output, code: await child.exited }).toEqual({ output: "ready\ngot TERM\n", code: 5 });
  });

  test("a terminal has the size of one's own, and its modes are given back", async () => {
    const { id, path } = bundleOf({ script: "stty size; tty", terminal: true });
    let output = "";
    await using terminal = new Bun.Terminal({
      cols: 91,
      rows: 31,
      data: (_terminal, chunk) => {
        output += Buffer.from(chunk).toString();
      },
    });
    const child = Bun.spawn([SHIM, "--id", id, "--bundle", path], { terminal });
    expect(await child.exited).toBe(0);
    expect(output).toContain("31 91");
    expect(output).toContain("/dev/pts/0");
  });

  test("--detach leaves the container to its shim", async () => {
    const { id, path } = bundleOf({ args: ["sleep", "600"] });
    const { code, stdout } = await shim(["--id", id, "--bundle", path, "--detach"]);
    expect(code).toBe(0);
    const pid = Number(/\b(\d+)\s*$/.exec(stdout)?.[1]);
    expect(stdout).toContain(id);
    expect(existsSync(socketOf(id))).toBe(true);
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    expect(await shim(["--id", id, "--bundle", path])).toMatchObject({ code: 2 });
    await endDetached(id, path);
  });
});

/** Ends what `--detach` left, as a manager would. */
async function endDetached(id: string, path: string): Promise<void> {
  const { readFileSync } = await import("node:fs");
  const { connectBun } = await import("../../src/rpc/ttrpc/bun.ts");
  const { createStub } = await import("../../src/rpc/ttrpc/stub.ts");
  const { TaskDefinition } = await import("../../src/gen/containerd/task/v2/task.ts");
  const address = readFileSync(join(path, "address"), "utf8").replace("unix://", "");
  using client = await connectBun({ unix: address });
  const task = createStub(client, TaskDefinition);
  const waited = task.wait({ id, execId: "" });
  await task.kill({ id, execId: "", signal: 9, all: false });
  expect((await waited).exitStatus).toBe(137);
  await task.delete({ id, execId: "" });
  await task.shutdown({ id, now: false });
}

describe("bad input", () => {
  test.each([
    [
      "no such bundle",
      (path: string) => rmSync(path, { recursive: true }),
      /no.*(such|bundle)|exist/i,
    ],
    [
      "broken config.json",
      (path: string) => writeFileSync(join(path, "config.json"), "{"),
      /config\.json/,
    ],
    [
      "a missing rootfs",
      (path: string) => rmSync(join(path, "rootfs"), { recursive: true }),
      /rootfs/,
    ],
  ])("%s is one clear line and exit code 2, with nothing left", async (_name, spoil, message) => {
    const { id, path } = bundleOf({ args: ["true"] });
    spoil(path);
    const { code, stdout, stderr } = await shim(["--id", id, "--bundle", path]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect(stderr).toMatch(message);
    expect(existsSync(socketOf(id))).toBe(false);
  });

  test.each([
    ["a runtime that is not there", ["--runtime", "no-such-runtime"], /no-such-runtime/],
    ["an id that is none", ["--id", "../x"], /id/i],
    ["a flag that is none", ["--nonsense"], /nonsense/],
  ])("%s is one clear line and exit code 2", async (_name, args, message) => {
    const { id, path } = bundleOf({ args: ["true"] });
    const { code, stderr } = await shim(["--id", id, "--bundle", path, ...args]);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
    expect(readdirSync(path).sort()).toEqual(["config.json", "rootfs"]);
  });

  test("a command that is missing fails in the runtime's words, with nothing left", async () => {
    const { id, path } = bundleOf({ args: ["/no/such/program"] });
    const { code, stderr } = await shim(["--id", id, "--bundle", path]);
    expect(code).not.toBe(0);
    expect(stderr).toContain("/no/such/program");
    expect(existsSync(`/run/containerd/runc/default/${id}`)).toBe(false);
    expect(readdirSync(path).sort()).toEqual(["config.json", "rootfs"]);
  });
});
