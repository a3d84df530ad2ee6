/** The answer to Stats. Loaded on the first call: most shims never get one, and this is a fifth of their program. */

import type { Container } from "../container/container.ts";
import type { Any } from "../gen/google/protobuf/any.ts";
import {
  BlkIOStat,
  CPUUsage,
  Metrics as MetricsV1,
  Throttle,
} from "../gen/io/containerd/cgroups/v1/metrics.ts";
import {
  CPUStat,
  IOStat,
  MemoryStat,
  Metrics as MetricsV2,
  PidsStat,
  RdmaStat,
} from "../gen/io/containerd/cgroups/v2/metrics.ts";

/** A message without fields. */
const NOTHING = new Uint8Array(0);

/**
 * The message for the cgroup version that the container is in. A controller that is not there has zeros where
 * the stock shim's has: clients dereference these parts without a check.
 */
export function toStats(metrics: Awaited<ReturnType<Container["metrics"]>>): Any {
  switch (metrics.version) {
    case 1:
      return {
        typeUrl: "io.containerd.cgroups.v1.Metrics",
        value: MetricsV1.encode(completeV1(metrics.metrics)).finish(),
      };
    case 2:
      return {
        typeUrl: "io.containerd.cgroups.v2.Metrics",
        value: MetricsV2.encode(completeV2(metrics.metrics)).finish(),
      };
  }
}

function completeV1(metrics: MetricsV1): MetricsV1 {
  const { cpu, blkio } = metrics;
  return {
    ...metrics,
    cpu: cpu ?? { usage: CPUUsage.decode(NOTHING), throttling: Throttle.decode(NOTHING) },
    blkio: blkio ?? BlkIOStat.decode(NOTHING),
  };
}

function completeV2(metrics: MetricsV2): MetricsV2 {
  const { pids, cpu, memory, rdma, io } = metrics;
  return {
    ...metrics,
    pids: pids ?? PidsStat.decode(NOTHING),
    cpu: cpu ?? CPUStat.decode(NOTHING),
    memory: memory ?? MemoryStat.decode(NOTHING),
    rdma: rdma ?? RdmaStat.decode(NOTHING),
    io: io ?? IOStat.decode(NOTHING),
  };
}
