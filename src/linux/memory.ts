/** How much memory this process has to itself. */

import { readFileSync } from "node:fs";
import { hasCode } from "./errno.ts";

const PAGE_KILOBYTES = 4;

/**
 * Resident pages that belong to no file, in kilobytes (proc(5), smaps_rollup), for some tenth of a
 * millisecond. statm is cheaper, and may be wrong by megabytes: kernels since 6.2 add up what each
 * processor has counted only now and then. Throws as reading /proc does.
 */
export function privateKilobytes(): number {
  try {
    const rollup = readFileSync("/proc/self/smaps_rollup", "latin1");
    return Number(/^Anonymous:\s+(\d+) kB$/m.exec(rollup)?.[1]);
  } catch (error) {
    // A kernel without CONFIG_PROC_PAGE_MONITOR.
    if (!hasCode(error, "ENOENT")) throw error;
    const statm = readFileSync("/proc/self/statm", "latin1");
    const [, resident = 0, shared = 0] = statm.split(" ").map(Number);
    return (resident - shared) * PAGE_KILOBYTES;
  }
}
