/** How much private memory this process has, and the pages that memory comes in. */

import { readFileSync } from "node:fs";
import { check, hasCode } from "./errno.ts";
import { mountTable } from "./libc.ts";

const SC_PAGESIZE = 30;
/** All that there may be: inside a container the number of online processors may be misreported. */
const SC_NPROCESSORS_CONF = 83;
/** The kernel's `percpu_counter_batch`: this many pages, or twice as many as there are processors. */
const BATCH_PAGES_MIN = 32;
let knownPageBytes: number | undefined;

/**
 * Resident pages that belong to no file, in kilobytes (proc(5), smaps_rollup); takes a millisecond at
 * most. statm is cheaper, but may be off by megabytes: kernels from 6.2 to 6.15 add up what each processor
 * has counted only now and then. Throws as reading /proc does.
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

/** What the host has left for anybody who wants memory (proc(5), meminfo, MemAvailable). */
export function availableKilobytes(): number {
  const meminfo = readFileSync("/proc/meminfo", "latin1");
  return Number(/^MemAvailable:\s+(\d+) kB$/m.exec(meminfo)?.[1] ?? 0);
}

/** How memory is measured, in kilobytes. */
export interface Looks {
  readonly rough: () => number;
  readonly close: () => number;
  /** How far off a rough look may be. */
  readonly error: number;
}

/** How often to look closely for what a rough look cannot exclude. */
const CLOSE_LOOK_MS = 1000;
/** Of `near`: found roughly, it may be all of it. */
const DOUBTFUL_SHARE = 2 / 3;
/** A rough look that is off by no more than this share of what is near is as good as a close one. */
const SMALL_ERROR_SHARE = 1 / 16;

/**
 * {@link privateKilobytes} for those who look often: roughly, if that is off by little, or enough to tell that it is
 * less than `near`. With so many processors that a rough look tells nothing, closely once a second, and each time that
 * a rough look, or the last close one, finds two thirds of that.
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
    const { error } = this.#looks;
    if (error <= this.#near * SMALL_ERROR_SHARE || kilobytes + error < this.#near) return kilobytes;
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

/** The same for a fiftieth of the time (proc(5), statm), and off by as much as that may be. */
export function roughPrivateKilobytes(): number {
  const statm = readFileSync("/proc/self/statm", "latin1");
  const [, resident = 0, shared = 0] = statm.split(" ").map(Number);
  return (resident - shared) * kilobytesPerPage();
}

/** A page of memory in bytes. */
export function pageBytes(): number {
  knownPageBytes ??= check("sysconf", mountTable().sysconf(SC_PAGESIZE));
  return knownPageBytes;
}

function kilobytesPerPage(): number {
  return pageBytes() / 1024;
}
