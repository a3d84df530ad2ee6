/** Huge pages on cgroup v2. */

import type { StatDirectory } from "../stat-directory.ts";
import { MAX_UINT64, readCounters, readLimit } from "../stat-file.ts";

const PREFIX = "hugetlb.";
const CURRENT_SUFFIX = ".current";
const MAX_SUFFIX = ".max";
const EVENTS_SUFFIX = ".events";

export interface HugetlbStat {
  /** Bytes. */
  readonly current: bigint;
  /** Bytes; the largest 64-bit number stands for no limit. */
  readonly max: bigint;
  /** As in the file names: "2MB". */
  readonly pagesize: string;
  /** How often the limit was hit. */
  readonly failcnt: bigint;
}

/** One entry for each of `sizes` that the controller has files for. */
export function readHugetlb(directory: StatDirectory, sizes: readonly string[]): HugetlbStat[] {
  return sizes.flatMap((pagesize) => {
    const current = readLimit(directory, PREFIX + pagesize + CURRENT_SUFFIX, MAX_UINT64);
    if (current === undefined) return [];
    const max = readLimit(directory, PREFIX + pagesize + MAX_SUFFIX, MAX_UINT64) ?? 0n;
    const events = readCounters(directory, PREFIX + pagesize + EVENTS_SUFFIX);
    return [{ current, max, pagesize, failcnt: events?.get("max") ?? 0n }];
  });
}
