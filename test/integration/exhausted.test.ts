/** A shim that runs out of descriptors while its processes end, over real runc. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { TaskExit } from "../../src/gen/containerd/events/task.ts";
import { Options } from "../../src/gen/containerd/types/runc/options/oci.ts";
import { buildExecutable } from "../compiled.ts";
import { descriptorsOf, fifo, LiveShim, until } from "./live-shim.ts";

let shim: LiveShim;
beforeAll(async () => {
  await buildExecutable();
  shim = await LiveShim.start();
});
afterAll(async () => await shim[Symbol.asyncDispose]());

function limitDescriptors(limit: string): void {
  const { success } = Bun.spawnSync(["prlimit", "--pid", String(shim.pid), `--nofile=${limit}`]);
  if (!success) throw new Error(`Cannot limit the descriptors of ${shim.pid}`);
}

function exitsOf(id: string): readonly string[] {
  return shim.events
    .filter(({ topic }) => topic === "/tasks/exit")
    .map(({ value }) => TaskExit.decode(value))
    .filter(({ containerId }) => containerId === id)
    .map((exit) => `${exit.id} ${exit.exitStatus}`);
}

/** A runtime that takes all descriptors of the shim but one, once it has created its container. */
function greedyRuntime(): string {
  const path = join(shim.path, "greedy-runc");
  const script = `#!/bin/sh
runc "$@" || exit
case "$*" in *" create "*) ;; *) exit 0 ;; esac
free=0
while [ -e /proc/$PPID/fd/$free ]; do free=$((free + 1)); done
prlimit --pid $PPID --nofile=$((free + 1)):
`;
  writeFileSync(path, script, { mode: 0o755 });
  return path;
}

test("follows a container that came with the last descriptor, and finds its cgroup later", async () => {
  using bundle = shim.bundle({ args: ["sleep", "1000"] });
  const { id } = bundle;
  const options = Options.encode({
    ...Options.decode(new Uint8Array(0)),
    ...{ root: join(shim.path, "runc"), binaryName: greedyRuntime() },
  }).finish();
  const { pid } = await shim.task.create({
    ...{ id, bundle: bundle.path, rootfs: [], checkpoint: "", parentCheckpoint: "" },
    ...{ terminal: false, stdin: "", stdout: "", stderr: "" },
    options: { typeUrl: "containerd.runc.v1.Options", value: options },
  });
  limitDescriptors("1024:");
  await shim.task.start({ id, execId: "" });
  expect((await shim.task.stats({ id })).stats).toBeDefined();
  process.kill(pid, "SIGKILL");
  expect((await shim.task.wait({ id, execId: "" })).exitStatus).toBe(137);
  await until("the end is told", () => exitsOf(id).length > 0);
  await shim.task.delete({ id, execId: "" });
}, 60_000);

/** The lowest limit with which the shim can have so many descriptors more. */
function limitFor(count: number): string {
  const taken = descriptorsOf(shim.pid);
  let limit = 0;
  for (let left = count; left > 0 || taken.has(limit); limit++) if (!taken.has(limit)) left--;
  return `${limit}:`;
}

function openFiles(): readonly string[] {
  return [...descriptorsOf(shim.pid).values()].map((name) => name.replace(/\d+/g, "")).sort();
}

let fifoCount = 0;
const newFifo = () => fifo(shim, `end-${fifoCount++}`);
const LOGGER = "binary:///bin/sh?-c=exec%205%3E%26-%3B%20cat%20%3C%263%20%3E%2Fdev%2Fnull";

test.each<[kind: string, io: () => Parameters<LiveShim["exec"]>[3]]>([
  ["FIFOs", () => ({ stdin: newFifo(), stdout: newFifo(), stderr: newFifo() })],
  ["a terminal", () => ({ terminal: true, stdin: newFifo(), stdout: newFifo() })],
  ["a log file", () => ({ stdout: `file://${shim.path}/log?format=cri`, stderr: "yes" })],
  ["a logger", () => ({ stdout: LOGGER, stderr: "yes" })],
])(
  "leaves no descriptor of an exec with %s, whichever is the last to be had",
  async (_, io) => {
    using bundle = shim.bundle({ args: ["sleep", "1000"] });
    const { id } = bundle;
    await shim.create(bundle);
    await shim.task.start({ id, execId: "" });
    const before = openFiles();
    for (let spare = 0; spare <= 14; spare++) {
      const execId = `e${spare}`;
      limitDescriptors(limitFor(spare));
      await shim.exec(id, execId, ["true"], io()).catch(() => {});
      limitDescriptors("1024:");
      await shim.task.wait({ id, execId });
      await shim.task.delete({ id, execId });
      // Of a runtime that has failed at once, the copy that waits for the cgroup lock is still there for some ms.
      await until(`nothing is left of ${spare}`, () => Bun.deepEquals(openFiles(), before));
    }
    await shim.remove(id);
  },
  60_000,
);

test.each([
  ["nothing", false],
  ["terminals", true],
])(
  "tells the ends of an exec and of init with %s all the same, once each",
  async (_, terminal) => {
    using bundle = shim.bundle({ args: ["sleep", "1000"], terminal });
    const { id } = bundle;
    const io = (name: string) => ({ terminal, stdout: terminal ? fifo(shim, name) : "" });
    const initPid = await shim.create(bundle, io("init"));
    await shim.task.start({ id, execId: "" });
    const execPid = await shim.exec(id, "probe", ["sleep", "1000"], io("exec"));
    const ends = ["probe", ""].map((execId) => shim.task.wait({ id, execId }));
    limitDescriptors("3:");
    process.kill(execPid, "SIGKILL");
    await Bun.sleep(300);
    process.kill(initPid, "SIGKILL");
    await Bun.sleep(1000);
    limitDescriptors("1024:");
    expect((await Promise.all(ends)).map(({ exitStatus }) => exitStatus)).toEqual([137, 137]);
    await until("both ends are told", () => exitsOf(id).length >= 2);
    expect(exitsOf(id)).toEqual(["probe 137", `${id} 137`]);
  },
  60_000,
);
