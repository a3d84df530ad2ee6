/** Huge pages on cgroup v1. */

import type { StatDirectory } from "../stat-directory.ts";
import { readLimit } from "../stat-file.ts";

const PREFIX = "hugetlb.";
const USAGE_SUFFIX = ".usage_in_bytes";
const PEAK_SUFFIX = ".max_usage_in_bytes";
const FAILURES_SUFFIX = ".failcnt";

export interface HugetlbStat {
  /** Bytes. */
  readonly usage: bigint;
  /** The highest usage so far, in bytes. */
  readonly max: bigint;
  readonly failcnt: bigint;
  /** As in the file names: "2MB". */
  readonly pagesize: string;
}

/** One entry for each of `sizes` that the controller has files for. */
export function readHugetlb(directory: StatDirectory, sizes: readonly string[]): HugetlbStat[] {
  return sizes.flatMap((pagesize) => {
    const usage = readLimit(directory, PREFIX + pagesize + USAGE_SUFFIX, 0n);
    if (usage === undefined) return [];
    const max = readLimit(directory, PREFIX + pagesize + PEAK_SUFFIX, 0n) ?? 0n;
    const failcnt = readLimit(directory, PREFIX + pagesize + FAILURES_SUFFIX, 0n) ?? 0n;
    return [{ usage, max, failcnt, pagesize }];
  });
}
