/** CPU time on cgroup v1: the cpu controller (throttling) and cpuacct (usage). */

import type { StatDirectory } from "../stat-directory.ts";
import { parseUint64, readCounters } from "../stat-file.ts";

const THROTTLING_FILE = "cpu.stat";
const USAGE_FILE = "cpuacct.usage";
const USAGE_BY_CPU_FILE = "cpuacct.usage_percpu";
const USAGE_BY_MODE_FILE = "cpuacct.stat";
/** cpuacct.stat counts in USER_HZ, which is 100 on every architecture (proc(5), sysconf(3)). */
const NANOSECONDS_PER_TICK = 10_000_000n;

/** All in nanoseconds. */
export interface CpuUsage {
  readonly total: bigint;
  readonly kernel: bigint;
  readonly user: bigint;
  readonly perCpu: bigint[];
}

export interface Throttle {
  readonly periods: bigint;
  readonly throttledPeriods: bigint;
  /** Nanoseconds. */
  readonly throttledTime: bigint;
}

/** Both parts are there whenever the whole is: clients dereference them without a check. */
export interface CpuStat {
  readonly usage: CpuUsage;
  readonly throttling: Throttle;
}

/** The directories of cpu and cpuacct, which may be one; undefined when neither has figures. */
export function readCpu(
  cpuDirectory: StatDirectory | undefined,
  accountDirectory: StatDirectory | undefined,
): CpuStat | undefined {
  const throttling = cpuDirectory === undefined ? undefined : readThrottle(cpuDirectory);
  const usage = accountDirectory === undefined ? undefined : readUsage(accountDirectory);
  if (throttling === undefined && usage === undefined) return undefined;
  return {
    usage: usage ?? { total: 0n, kernel: 0n, user: 0n, perCpu: [] },
    throttling: throttling ?? { periods: 0n, throttledPeriods: 0n, throttledTime: 0n },
  };
}

function readThrottle(directory: StatDirectory): Throttle | undefined {
  const counters = readCounters(directory, THROTTLING_FILE);
  if (counters === undefined) return undefined;
  return {
    periods: counters.get("nr_periods") ?? 0n,
    throttledPeriods: counters.get("nr_throttled") ?? 0n,
    throttledTime: counters.get("throttled_time") ?? 0n,
  };
}

function readUsage(directory: StatDirectory): CpuUsage | undefined {
  const total = directory.read(USAGE_FILE);
  if (total === undefined) return undefined;
  const modes = readCounters(directory, USAGE_BY_MODE_FILE);
  return {
    total: parseUint64(total),
    kernel: nanoseconds(modes?.get("system") ?? 0n),
    user: nanoseconds(modes?.get("user") ?? 0n),
    perCpu: parsePerCpu(directory.read(USAGE_BY_CPU_FILE) ?? ""),
  };
}

/** Numbers between white space, one for each processor. */
export function parsePerCpu(text: string): bigint[] {
  return text
    .split(/\s/)
    .filter((word) => word !== "")
    .map(parseUint64);
}

function nanoseconds(ticks: bigint): bigint {
  return BigInt.asUintN(64, ticks * NANOSECONDS_PER_TICK);
}
