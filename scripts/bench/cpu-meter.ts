/**
 * CPU time by peer, to the nanosecond: what a peer starts runs in a cgroup of its own.
 *
 * Below the benchmark's cgroup each peer has `shims`, for its shim and the runtime processes that it
 * starts, beside the cgroups of its containers.
 */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Peer } from "./peer.ts";

const CGROUP_ROOT = "/sys/fs/cgroup";
const SHIMS = "shims";
const THIS_THREAD = "0";

/** The hierarchy that accounts CPU time. */
interface Hierarchy {
  readonly root: string;
  /** Where this process belongs, below the root. */
  readonly own: string;
  readonly isV2: boolean;
}

export class CpuMeter {
  readonly #hierarchy = findHierarchy();
  /** The benchmark's cgroup, below the root of every hierarchy. */
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  /** Where a container of `peer` is to be put (`linux.cgroupsPath`). */
  containerPath(peer: Peer, id: string): string {
    return join("/", this.#name, peer.name, id);
  }

  /** Calls `spawn`, whose child and everything that it starts count as `peer`'s shims. */
  within<T>(peer: Peer, spawn: () => T): T {
    const cgroup = this.#path(peer, SHIMS);
    mkdirSync(cgroup, { recursive: true });
    this.#moveTo(cgroup);
    try {
      return spawn();
    } finally {
      this.#moveTo(join(this.#hierarchy.root, this.#hierarchy.own));
    }
  }

  /** Milliseconds used so far by the peer's shims and the runtime processes that they start. */
  shimsMs(peer: Peer): number {
    return this.#usedMs(this.#path(peer, SHIMS));
  }

  /** Milliseconds used so far by all of the peer's, containers included. */
  totalMs(peer: Peer): number {
    return this.#usedMs(this.#path(peer));
  }

  #path(peer: Peer, ...below: string[]): string {
    return join(this.#hierarchy.root, this.#name, peer.name, ...below);
  }

  /**
   * Moves what spawns: only this thread where that is possible. To move a process the kernel waits for RCU, up
   * to 10 ms, and spares that wait to others that move within the next moment: a runtime whose shim is quick.
   */
  #moveTo(cgroup: string): void {
    if (this.#hierarchy.isV2) writeFileSync(join(cgroup, "cgroup.procs"), String(process.pid));
    else writeFileSync(join(cgroup, "tasks"), THIS_THREAD);
  }

  #usedMs(cgroup: string): number {
    if (!existsSync(cgroup)) return 0;
    if (!this.#hierarchy.isV2) {
      return Number(readFileSync(join(cgroup, "cpuacct.usage"), "utf8")) / 1e6;
    }
    const text = readFileSync(join(cgroup, "cpu.stat"), "utf8");
    return Number(/^usage_usec (\d+)/m.exec(text)?.[1]) / 1e3;
  }
}

function findHierarchy(): Hierarchy {
  const lines = readFileSync("/proc/self/cgroup", "utf8").trim().split("\n");
  for (const line of lines) {
    const [, controllers = "", own = "/"] = line.split(":");
    if (!controllers.split(",").includes("cpuacct")) continue;
    const root = [controllers, "cpuacct", "cpu,cpuacct"]
      .map((name) => join(CGROUP_ROOT, name))
      .find((path) => existsSync(join(path, "cpuacct.usage")));
    if (root !== undefined) return { root, own, isV2: false };
  }
  const own = lines.find((line) => line.startsWith("0::"))?.slice(3);
  if (own === undefined) throw new Error("No cgroup counts processor time on this machine");
  return { root: CGROUP_ROOT, own, isV2: true };
}
