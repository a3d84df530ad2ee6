/**
 * What goes wrong, done to the processes of one private containerd.
 *
 * The time of day is the whole machine's and is set only for shims (`clock.ts`); the other clocks are never
 * set, and for a shim that is stopped for a while they all jump.
 */

import { readdirSync, readFileSync, statfsSync } from "node:fs";
import type { Containerd } from "../../test/e2e/containerd.ts";
import { withFewPids } from "./few-pids.ts";
import type { FaultPlan } from "./plan.ts";

const FEW_DESCRIPTORS = 16;
/** With more than this a runtime process finds all that it needs. */
const SPARE_PIDS_MAX = 12;
/** Time for a container to reach the state in which the fault has an effect. */
const LOOK_INTERVAL_MS = 20;

/** Causes it, waits as long as it lasts, and undoes what can be undone. */
export async function inflict(daemon: Containerd, { kind, forMs }: FaultPlan): Promise<void> {
  switch (kind) {
    case "kill containerd":
      await daemon.kill();
      await Bun.sleep(forMs);
      return await daemon.resume();
    case "stop containerd":
      return await pause(daemon, find(daemon, / --config .*config\.toml/), forMs);
    case "stop shim":
      return await pause(daemon, daemon.shims().slice(0, 1), forMs);
    case "stop runtime":
      return await pause(daemon, await findRuntime(daemon, forMs), forMs);
    case "kill runtime":
      return await signal(daemon, "KILL", await findRuntime(daemon, forMs));
    case "kill reader":
      return await signal(daemon, "KILL", find(daemon, /^cat .*-stdout$/).slice(0, 1));
    case "kill logger":
      return await signal(daemon, "KILL", findLogger(daemon));
    case "stop logger":
      return await pause(daemon, findLogger(daemon), forMs);
    case "fill disk":
      return await fillDisk(daemon, forMs);
    case "take descriptors":
      return await takeDescriptors(daemon, forMs);
    case "take pids":
      return await takePids(daemon, forMs);
  }
}

async function pause(daemon: Containerd, pids: readonly number[], forMs: number): Promise<void> {
  await signal(daemon, "STOP", pids);
  await Bun.sleep(forMs);
  await signal(daemon, "CONT", pids);
  wakeEntrances();
}

/** `nsenter`, which runs in front of a daemon or a client, has stopped with it. */
function wakeEntrances(): void {
  for (const thread of readdirSync("/proc/self/task")) {
    const children = readFileSync(`/proc/self/task/${thread}/children`, "utf8").trim();
    for (const pid of children.split(" ").filter((each) => each !== "")) {
      process.kill(Number(pid), "SIGCONT");
    }
  }
}

/** A process that has ended meanwhile cannot be signalled. */
async function signal(daemon: Containerd, name: string, pids: readonly number[]): Promise<void> {
  if (pids.length > 0) await run(daemon, ["kill", "-s", name, ...pids.map(String)]);
}

/** A runtime call is short, so it is looked for during the whole time. */
async function findRuntime(daemon: Containerd, forMs: number): Promise<readonly number[]> {
  const endMs = performance.now() + forMs;
  while (performance.now() < endMs) {
    const pids = find(daemon, /^(\S*\/)?runc .*(create|start|exec|delete|kill) /);
    if (pids.length > 0) return pids.slice(0, 1);
    await Bun.sleep(LOOK_INTERVAL_MS);
  }
  return [];
}

/** A logger that is ready has become `cat -`; before it is, it has its own name. */
function findLogger(daemon: Containerd): readonly number[] {
  return find(daemon, /^cat -$|chaos\/logger$/).slice(0, 1);
}

function find(daemon: Containerd, pattern: RegExp): number[] {
  return [...daemon.sandbox.processes()]
    .filter(([, commandLine]) => pattern.test(commandLine))
    .map(([pid]) => pid);
}

/** The tmpfs that holds containerd's state, bundles and logs is made as small as what is in it. */
async function fillDisk(daemon: Containerd, forMs: number): Promise<void> {
  const { blocks, bfree, bsize } = statfsSync(daemon.outside());
  const used = (blocks - bfree) * bsize;
  await run(daemon, ["mount", "-o", `remount,size=${used}`, daemon.inside()]);
  await Bun.sleep(forMs);
  await run(daemon, ["mount", "-o", `remount,size=${blocks * bsize}`, daemon.inside()]);
}

async function takeDescriptors(daemon: Containerd, forMs: number): Promise<void> {
  const [shim] = daemon.shims();
  if (shim === undefined) return;
  await run(daemon, ["prlimit", "--pid", String(shim), `--nofile=${FEW_DESCRIPTORS}:`]);
  await Bun.sleep(forMs);
  await run(daemon, ["prlimit", "--pid", String(shim), "--nofile=1024:"]);
}

async function takePids(daemon: Containerd, forMs: number): Promise<void> {
  const [shim] = daemon.shims();
  if (shim !== undefined) await withFewPids(daemon, shim, forMs % SPARE_PIDS_MAX, forMs);
}

async function run(daemon: Containerd, argv: readonly string[]): Promise<void> {
  const child = Bun.spawn(daemon.sandbox.enter(argv), { stdout: "ignore", stderr: "ignore" });
  await child.exited;
}
