/** How much memory this process has to itself. */

import { readFileSync } from "node:fs";
import { hasCode } from "./errno.ts";
import { mountTable } from "./libc.ts";

const SC_PAGESIZE = 30;
/** All that there may be: how many are online may be told otherwise inside of a container. */
const SC_NPROCESSORS_CONF = 83;
/** The kernel's `percpu_counter_batch`: so many pages, or twice as many as there are processors. */
const BATCH_PAGES_MIN = 32;
let pageKilobytes: number | undefined;

/**
 * Resident pages that belong to no file, in kilobytes (proc(5), smaps_rollup), for a millisecond at
 * most. statm is cheaper, and may be wrong by megabytes: kernels from 6.2 to 6.15 add up
 * what each processor has counted only now and then. Throws as reading /proc does.
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
  /** What a rough look may be wrong by. */
  readonly error: number;
}

/** How often what a rough look cannot exclude is looked for. */
const CLOSE_LOOK_MS = 1000;
/** Of what is near: found roughly, it may be all. */
const DOUBTFUL_SHARE = 2 / 3;

/**
 * {@link privateKilobytes} for those who look often: roughly, where that tells that it is less than `near`.
 * Where there are so many processors that it tells nothing, closely once in a second, and each time that a
 * rough look, or the last close one, finds two thirds of that.
 */
export class MemoryGauge {
  readonly #near: number;
  readonly #looks: Looks;
  #closeAtMs = performance.now();
  #closeKilobytes = 0;

  constructor(near: number, looks: Looks = ownLooks()) {
    this.#near = near;
    this.#looks = looks;
  }

  read(): number {
    const kilobytes = this.#looks.rough();
    if (kilobytes + this.#looks.error < this.#near) return kilobytes;
    const now = performance.now();
    const doubtful = this.#near * DOUBTFUL_SHARE;
    const isFar = kilobytes < doubtful && this.#closeKilobytes < doubtful;
    if (isFar && now - this.#closeAtMs < CLOSE_LOOK_MS) return kilobytes;
    this.#closeAtMs = now;
    this.#closeKilobytes = this.#looks.close();
    return this.#closeKilobytes;
  }
}

/** Of this process. */
export function ownLooks(): Looks {
  const processors = Number(mountTable().sysconf(SC_NPROCESSORS_CONF));
  const pages = processors * Math.max(BATCH_PAGES_MIN, 2 * processors);
  return {
    rough: roughPrivateKilobytes,
    close: privateKilobytes,
    error: pages * kilobytesPerPage(),
  };
}

/** The same for a fiftieth of the time (proc(5), statm), and wrong by as much as that may be. */
export function roughPrivateKilobytes(): number {
  const statm = readFileSync("/proc/self/statm", "latin1");
  const [, resident = 0, shared = 0] = statm.split(" ").map(Number);
  return (resident - shared) * kilobytesPerPage();
}

function kilobytesPerPage(): number {
  pageKilobytes ??= Number(mountTable().sysconf(SC_PAGESIZE)) / 1024;
  return pageKilobytes;
}
