/** What the kernel accounts to a container, in the same few figures for both cgroup versions. */

import type { CgroupLocation } from "../../cgroup/cgroup.ts";
import { type CgroupMetrics, MetricsReader } from "../../cgroup/metrics.ts";
import type { MetricsV1 } from "../../cgroup/v1/metrics.ts";
import type { MetricsV2 } from "../../cgroup/v2/metrics.ts";

const NANOSECONDS_PER_MS = 1e6;
const MICROSECONDS_PER_MS = 1e3;
/** What "no limit" reads as: the largest number, on v1 in whole pages. */
const UNLIMITED_FROM = 2n ** 62n;

/** Undefined is what this kernel or this cgroup does not report. */
export interface Figures {
  readonly cpuMs: number | undefined;
  readonly throttledMs: number | undefined;
  readonly memoryBytes: number | undefined;
  /** Without the part of the page cache that is reclaimed first. */
  readonly workingSetBytes: number | undefined;
  /** Undefined for none. */
  readonly memoryLimitBytes: number | undefined;
  readonly oomKills: number | undefined;
  readonly pids: number | undefined;
  /** Undefined for none. */
  readonly pidsLimit: number | undefined;
  readonly readBytes: number | undefined;
  readonly writtenBytes: number | undefined;
}

/** Undefined when the cgroup is gone. */
export function readFigures(cgroup: CgroupLocation | undefined): Figures | undefined {
  if (cgroup === undefined) return undefined;
  try {
    using reader = new MetricsReader(cgroup);
    return toFigures(reader.read());
  } catch {
    return undefined; // It ended meanwhile.
  }
}

/** The figures in a message of either version. */
export function toFigures(read: CgroupMetrics): Figures {
  return read.version === 1 ? fromV1(read.metrics) : fromV2(read.metrics);
}

function fromV1({ cpu, memory, memoryOomControl, pids, blkio }: MetricsV1): Figures {
  const bytesOf = (op: string) =>
    sum(
      blkio?.ioServiceBytesRecursive.filter((entry) => entry.op === op).map(({ value }) => value),
    );
  return {
    cpuMs: scale(cpu?.usage.total, NANOSECONDS_PER_MS),
    throttledMs: scale(cpu?.throttling.throttledTime, NANOSECONDS_PER_MS),
    memoryBytes: scale(memory?.usage.usage),
    workingSetBytes: less(memory?.usage.usage, memory?.totalInactiveFile),
    memoryLimitBytes: limit(memory?.usage.limit),
    oomKills: scale(memoryOomControl?.oomKill),
    pids: scale(pids?.current),
    pidsLimit: limit(pids?.limit),
    readBytes: bytesOf("Read"),
    writtenBytes: bytesOf("Write"),
  };
}

function fromV2({ cpu, memory, memoryEvents, pids, io }: MetricsV2): Figures {
  return {
    cpuMs: scale(cpu?.usageUsec, MICROSECONDS_PER_MS),
    throttledMs: scale(cpu?.throttledUsec, MICROSECONDS_PER_MS),
    memoryBytes: scale(memory?.usage),
    workingSetBytes: less(memory?.usage, memory?.inactiveFile),
    memoryLimitBytes: limit(memory?.usageLimit),
    oomKills: scale(memoryEvents?.oomKill),
    pids: scale(pids?.current),
    pidsLimit: limit(pids?.limit),
    readBytes: sum(io?.usage.map(({ rbytes }) => rbytes)),
    writtenBytes: sum(io?.usage.map(({ wbytes }) => wbytes)),
  };
}

function scale(value: bigint | undefined, by = 1): number | undefined {
  return value === undefined ? undefined : Number(value) / by;
}

function less(value: bigint | undefined, part: bigint | undefined): number | undefined {
  if (value === undefined) return undefined;
  return Math.max(0, Number(value - (part ?? 0n)));
}

/** 0 also means none: pids has it for "max". */
function limit(value: bigint | undefined): number | undefined {
  if (value === undefined || value === 0n || value >= UNLIMITED_FROM) return undefined;
  return Number(value);
}

function sum(values: readonly bigint[] | undefined): number | undefined {
  if (values === undefined) return undefined;
  return Number(values.reduce((total, value) => total + value, 0n));
}
