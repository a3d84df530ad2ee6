/** The number of processes on cgroup v1. */

import type { StatDirectory } from "../stat-directory.ts";
import { readLimit } from "../stat-file.ts";

const CURRENT_FILE = "pids.current";
const MAX_FILE = "pids.max";
/** How "no limit" has always been reported here on v1. */
const UNLIMITED = 0n;

export interface PidsStat {
  readonly current: bigint;
  /** 0 stands for no limit. */
  readonly limit: bigint;
}

/** Undefined without the controller, and in its root cgroup. */
export function readPidsStat(directory: StatDirectory): PidsStat | undefined {
  const current = readLimit(directory, CURRENT_FILE, UNLIMITED);
  const limit = readLimit(directory, MAX_FILE, UNLIMITED);
  return current === undefined || limit === undefined ? undefined : { current, limit };
}
