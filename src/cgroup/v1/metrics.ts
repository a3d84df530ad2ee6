/** All figures of a container on cgroup v1; the shape is that of `io.containerd.cgroups.v1.Metrics`. */

import type { MetricsSources } from "../metrics-sources.ts";
import { type RdmaStat, readRdma } from "../rdma.ts";
import type { StatDirectory } from "../stat-directory.ts";
import { type BlkioStat, readBlkio } from "./blkio.ts";
import { type CpuStat, readCpu } from "./cpu.ts";
import { type HugetlbStat, readHugetlb } from "./hugetlb.ts";
import { type MemoryOomControl, type MemoryStat, readMemory, readOomControl } from "./memory.ts";
import { type PidsStat, readPidsStat } from "./pids.ts";

/** What is missing on this kernel, or in this cgroup, is undefined or empty. */
export interface MetricsV1 {
  readonly hugetlb: HugetlbStat[];
  readonly pids: PidsStat | undefined;
  readonly cpu: CpuStat | undefined;
  readonly memory: MemoryStat | undefined;
  readonly blkio: BlkioStat | undefined;
  readonly rdma: RdmaStat | undefined;
  /** Always empty: the network is the business of whoever created the network namespace. */
  readonly network: never[];
  /** Always undefined: the counts of tasks by state come from elsewhere (taskstats). */
  readonly cgroupStats: undefined;
  readonly memoryOomControl: MemoryOomControl | undefined;
}

/** Reads the directories in `paths`, by controller; undefined when none of them has a figure. */
export function readMetricsV1(
  paths: Readonly<Record<string, string>>,
  { files, hugePageSizes, proc }: MetricsSources,
): MetricsV1 | undefined {
  const at = (controller: string): StatDirectory | undefined => {
    const path = paths[controller];
    return path === undefined ? undefined : files.directory(path);
  };
  const of = <T>(controller: string, read: (directory: StatDirectory) => T): T | undefined => {
    const directory = at(controller);
    return directory === undefined ? undefined : read(directory);
  };
  const metrics: MetricsV1 = {
    hugetlb: of("hugetlb", (directory) => readHugetlb(directory, hugePageSizes)) ?? [],
    pids: of("pids", readPidsStat),
    cpu: readCpu(at("cpu"), at("cpuacct")),
    memory: of("memory", readMemory),
    blkio: of("blkio", (directory) => readBlkio(directory, files.directory(proc))),
    rdma: of("rdma", readRdma),
    network: [],
    cgroupStats: undefined,
    memoryOomControl: of("memory", readOomControl),
  };
  const hasAny = Object.values(metrics).some((part) =>
    Array.isArray(part) ? part.length > 0 : part !== undefined,
  );
  return hasAny ? metrics : undefined;
}
