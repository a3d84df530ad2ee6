/** All figures of a container on cgroup v2; the shape is that of `io.containerd.cgroups.v2.Metrics`. */

import type { MetricsSources } from "../metrics-sources.ts";
import { type RdmaStat, readRdma } from "../rdma.ts";
import { type CpuStat, readCpu } from "./cpu.ts";
import { type HugetlbStat, readHugetlb } from "./hugetlb.ts";
import { type IoStat, readIo } from "./io.ts";
import { type MemoryEvents, type MemoryStat, readMemory, readMemoryEvents } from "./memory.ts";
import { type PidsStat, readPidsStat } from "./pids.ts";

/** What is missing on this kernel, or not enabled for this cgroup, is undefined or empty. */
export interface MetricsV2 {
  readonly pids: PidsStat | undefined;
  readonly cpu: CpuStat | undefined;
  readonly memory: MemoryStat | undefined;
  readonly rdma: RdmaStat | undefined;
  readonly io: IoStat | undefined;
  readonly hugetlb: HugetlbStat[];
  readonly memoryEvents: MemoryEvents | undefined;
  /** Always empty: the network is the business of whoever created the network namespace. */
  readonly network: never[];
}

/** Reads the cgroup at `path`; undefined when it has no figure at all, that is, when it is gone. */
export function readMetricsV2(
  path: string,
  { files, hugePageSizes }: MetricsSources,
): MetricsV2 | undefined {
  const directory = files.directory(path);
  const metrics: MetricsV2 = {
    pids: readPidsStat(directory),
    cpu: readCpu(directory),
    memory: readMemory(directory),
    rdma: readRdma(directory),
    io: readIo(directory),
    hugetlb: readHugetlb(directory, hugePageSizes),
    memoryEvents: readMemoryEvents(directory),
    network: [],
  };
  const hasAny = Object.values(metrics).some((part) =>
    Array.isArray(part) ? part.length > 0 : part !== undefined,
  );
  return hasAny ? metrics : undefined;
}
