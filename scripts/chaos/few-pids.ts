/** A shim that can start next to nothing, because its cgroup has reached its limit of processes. */

import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Containerd } from "../../test/e2e/containerd.ts";
import { poll } from "../../test/e2e/poll.ts";

const CGROUP_ROOT = "/sys/fs/cgroup";

/**
 * Moves the shim into a cgroup of its own for `forMs` milliseconds, with room for `spare` tasks more than
 * it has: a runtime process needs some ten, so it is refused at one place or another.
 */
export async function withFewPids(
  daemon: Containerd,
  shim: number,
  spare: number,
  forMs: number,
): Promise<void> {
  const v1 = join(CGROUP_ROOT, "pids");
  const top = existsSync(v1) ? v1 : CGROUP_ROOT;
  const proc = daemon.sandbox.path(`/proc/${shim}`);
  if (!existsSync(proc)) return;
  const lines = readFileSync(`${proc}/cgroup`, "utf8");
  const home = join(top, /^\d+:(?:[\w,]*\bpids\b[\w,]*)?:(.*)$/m.exec(lines)?.[1] ?? "/");
  const few = join(top, daemon.sandbox.name, "few-pids");
  mkdirSync(few, { recursive: true });
  await move(daemon, [shim], few);
  const threads = existsSync(`${proc}/task`) ? readdirSync(`${proc}/task`).length : 0;
  writeFileSync(join(few, "pids.max"), String(threads + spare));
  await Bun.sleep(forMs);
  writeFileSync(join(few, "pids.max"), "max");
  await poll("the shim has its pids back", async () => {
    await moveAll(daemon, few, home);
    try {
      rmdirSync(few);
      return true;
    } catch {
      return false; // What was started meanwhile is still in it.
    }
  });
}

/** Pids are those of the inside: the kernel reads them in the writer's pid namespace. */
async function move(daemon: Containerd, pids: readonly number[], to: string): Promise<void> {
  const script = `for pid; do echo $pid >${to}/cgroup.procs; done`;
  await run(daemon, ["sh", "-c", script, "sh", ...pids.map(String)]);
}

async function moveAll(daemon: Containerd, from: string, to: string): Promise<void> {
  const script = `for pid in $(cat ${from}/cgroup.procs); do echo $pid >${to}/cgroup.procs; done`;
  await run(daemon, ["sh", "-c", script]);
}

async function run(daemon: Containerd, argv: readonly string[]): Promise<void> {
  const child = Bun.spawn(daemon.sandbox.enter(argv), { stdout: "ignore", stderr: "ignore" });
  await child.exited;
}
