/** The number of processes on cgroup v2. */

import type { StatDirectory } from "../stat-directory.ts";
import { MAX_UINT64, readLimit } from "../stat-file.ts";

const CURRENT_FILE = "pids.current";
const MAX_FILE = "pids.max";

export interface PidsStat {
  readonly current: bigint;
  /** The largest 64-bit number stands for no limit. */
  readonly limit: bigint;
}

/** Undefined without the controller. */
export function readPidsStat(directory: StatDirectory): PidsStat | undefined {
  const current = readLimit(directory, CURRENT_FILE, MAX_UINT64);
  if (current === undefined) return undefined;
  return { current, limit: readLimit(directory, MAX_FILE, MAX_UINT64) ?? 0n };
}
