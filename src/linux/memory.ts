/** How much memory this process has to itself. */

import { readFileSync } from "node:fs";
import { hasCode } from "./errno.ts";
import { mountTable } from "./libc.ts";

const SC_PAGESIZE = 30;
let pageKilobytes: number | undefined;

/**
 * Resident pages that belong to no file, in kilobytes (proc(5), smaps_rollup), for a millisecond at
 * most. statm is cheaper, and may be wrong by megabytes: kernels since 6.2 add up what each
 * processor has counted only now and then. Throws as reading /proc does.
 */
export function privateKilobytes(): number {
  try {
    const rollup = readFileSync("/proc/self/smaps_rollup", "latin1");
    return Number(/^Anonymous:\s+(\d+) kB$/m.exec(rollup)?.[1]);
  } catch (error) {
    // A kernel without CONFIG_PROC_PAGE_MONITOR.
    if (!hasCode(error, "ENOENT")) throw error;
    return roughPrivateKilobytes();
  }
}

/** What the host has left for whoever wants memory (proc(5), meminfo, MemAvailable). */
export function availableKilobytes(): number {
  const meminfo = readFileSync("/proc/meminfo", "latin1");
  return Number(/^MemAvailable:\s+(\d+) kB$/m.exec(meminfo)?.[1] ?? 0);
}

/** How memory is looked at, in kilobytes. */
export interface Looks {
  readonly rough: () => number;
  readonly close: () => number;
}

const OWN_LOOKS: Looks = {
  rough: () => roughPrivateKilobytes(),
  close: () => privateKilobytes(),
};

/** How often what is looked at often is looked at closely. */
const CLOSE_LOOK_MS = 1000;

/**
 * {@link privateKilobytes} for those who look often: closely once in a second, and where a rough look, or the
 * last close one, finds `near` or more.
 */
export class MemoryGauge {
  readonly #near: number;
  readonly #looks: Looks;
  #closeAtMs = performance.now();
  #closeKilobytes = 0;

  constructor(near: number, looks: Looks = OWN_LOOKS) {
    this.#near = near;
    this.#looks = looks;
  }

  read(): number {
    const now = performance.now();
    const kilobytes = this.#looks.rough();
    const isFar = kilobytes < this.#near && this.#closeKilobytes < this.#near;
    if (isFar && now - this.#closeAtMs < CLOSE_LOOK_MS) return kilobytes;
    this.#closeAtMs = now;
    this.#closeKilobytes = this.#looks.close();
    return this.#closeKilobytes;
  }
}

/** The same for a fiftieth of the time (proc(5), statm), and wrong by as much as that may be. */
export function roughPrivateKilobytes(): number {
  const statm = readFileSync("/proc/self/statm", "latin1");
  const [, resident = 0, shared = 0] = statm.split(" ").map(Number);
  pageKilobytes ??= Number(mountTable().sysconf(SC_PAGESIZE)) / 1024;
  return (resident - shared) * pageKilobytes;
}
