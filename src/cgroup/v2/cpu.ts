/** CPU time on cgroup v2. */

import type { StatDirectory } from "../stat-directory.ts";
import { readCounters } from "../stat-file.ts";
import { type PressureStats, readPressure } from "./pressure.ts";

const STAT_FILE = "cpu.stat";
const PRESSURE_FILE = "cpu.pressure";

/** Times in microseconds. The counts of periods need the controller, the rest is always there. */
export interface CpuStat {
  readonly usageUsec: bigint;
  readonly userUsec: bigint;
  readonly systemUsec: bigint;
  readonly nrPeriods: bigint;
  readonly nrThrottled: bigint;
  readonly throttledUsec: bigint;
  readonly psi: PressureStats | undefined;
  readonly nrBursts: bigint;
  readonly burstUsec: bigint;
}

/** Undefined only when the cgroup is gone. */
export function readCpu(directory: StatDirectory): CpuStat | undefined {
  const counters = readCounters(directory, STAT_FILE);
  if (counters === undefined) return undefined;
  return {
    usageUsec: counters.get("usage_usec") ?? 0n,
    userUsec: counters.get("user_usec") ?? 0n,
    systemUsec: counters.get("system_usec") ?? 0n,
    nrPeriods: counters.get("nr_periods") ?? 0n,
    nrThrottled: counters.get("nr_throttled") ?? 0n,
    throttledUsec: counters.get("throttled_usec") ?? 0n,
    psi: readPressure(directory, PRESSURE_FILE),
    nrBursts: counters.get("nr_bursts") ?? 0n,
    burstUsec: counters.get("burst_usec") ?? 0n,
  };
}
