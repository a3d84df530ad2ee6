/** The status of a container, from the kernel and its bundle. Its shim is not asked. */

import type { ExitRecord } from "../../bundle/exit-record.ts";
import { type CgroupLocation, locateCgroup } from "../../cgroup/cgroup.ts";
import { cgroupPids } from "../../cgroup/pids.ts";
import { readText } from "../../linux/text-file.ts";
import type { BundleFacts } from "./bundle-facts.ts";
import type { HostProcess } from "./process-table.ts";
import type { Host, HostShim } from "./shims.ts";

/** Runtimes whose init waits, before the program begins, under a command line of its own. */
const WAITING_INITS: readonly RegExp[] = [
  /runc[^ ]* init$/,
  /crun.* (create|run) /,
  /youki.* create /,
];

/** "empty": no process yet, or its task is deleted. */
export type ContainerStatus = "empty" | "created" | "running" | "paused" | "stopped";

/** A container now. */
export interface ContainerState {
  readonly status: ContainerStatus;
  /** In our own pid namespace; undefined before init exists, and when it has ended. */
  readonly init: HostProcess | undefined;
  /** Undefined if it has none that can be seen. */
  readonly cgroup: CgroupLocation | undefined;
  /** Everything in its cgroup. */
  readonly pids: readonly number[];
  /** Undefined while it runs, and where the shim keeps no record. */
  readonly exit: ExitRecord | undefined;
}

/** Never throws for what ends meanwhile. */
export function readContainerState(
  host: Host,
  shim: HostShim,
  bundle: BundleFacts,
): ContainerState {
  const { exit } = bundle;
  const init = exit === undefined ? findInit(host, shim, bundle) : undefined;
  if (init === undefined) {
    const wasThere = bundle.initPid !== undefined || exit !== undefined;
    const status = wasThere ? "stopped" : "empty";
    return { status, init, cgroup: undefined, pids: [], exit };
  }
  const cgroup = tryLocate(init.pid);
  return { status: statusOf(init, cgroup), init, cgroup, pids: listPids(cgroup, init.pid), exit };
}

/**
 * The child of the shim that `init.pid` names, as numbered in the shim's own pid namespace. A pid that has
 * been reused has another parent.
 */
function findInit(host: Host, shim: HostShim, { initPid }: BundleFacts): HostProcess | undefined {
  if (initPid === undefined) return undefined;
  const isLiveChild = (process: HostProcess) =>
    process.parentPid === shim.process.pid && process.state !== "Z";
  const same = host.processes.get(initPid);
  if (same !== undefined && isLiveChild(same)) return same;
  for (const process of host.processes.values()) {
    if (isLiveChild(process) && namespacePid(process.pid, shim.process.pid) === initPid) {
      return process;
    }
  }
  return undefined;
}

/** The number of process `pid` in the pid namespace of process `viewer`. */
function namespacePid(pid: number, viewer: number): number | undefined {
  const depth = namespacePids(viewer).length;
  return namespacePids(pid)[depth - 1];
}

/** A process's pids, from our own namespace to its innermost (proc(5), NSpid). */
function namespacePids(pid: number): readonly number[] {
  const line = /^NSpid:\s*(.*)$/m.exec(readText(`/proc/${pid}/status`) ?? "")?.[1];
  return line === undefined ? [] : line.trim().split(/\s+/).map(Number);
}

function statusOf(
  { args }: HostProcess,
  cgroup: CgroupLocation | undefined,
): "created" | "running" | "paused" {
  if (cgroup !== undefined && isFrozen(cgroup)) return "paused";
  const line = args.join(" ");
  return WAITING_INITS.some((pattern) => pattern.test(line)) ? "created" : "running";
}

function isFrozen(cgroup: CgroupLocation): boolean {
  if (cgroup.version === 2) return readText(`${cgroup.path}/cgroup.freeze`)?.trim() === "1";
  const freezer = cgroup.paths["freezer"];
  if (freezer === undefined) return false;
  const state = readText(`${freezer}/freezer.state`)?.trim();
  return state === "FROZEN" || state === "FREEZING";
}

function tryLocate(pid: number): CgroupLocation | undefined {
  try {
    return locateCgroup(pid);
  } catch {
    return undefined; // It cannot be read: another user's.
  }
}

function listPids(cgroup: CgroupLocation | undefined, init: number): readonly number[] {
  if (cgroup === undefined) return [init];
  try {
    const pids = cgroupPids(cgroup);
    return pids.length > 0 ? pids : [init];
  } catch {
    return [init];
  }
}
