/** The answer to Stats. Loaded on the first call: most shims never get one, and this is a fifth of their program. */

import type { Container } from "../container/container.ts";
import type { Any } from "../gen/google/protobuf/any.ts";
import { Metrics as MetricsV1 } from "../gen/io/containerd/cgroups/v1/metrics.ts";
import { Metrics as MetricsV2 } from "../gen/io/containerd/cgroups/v2/metrics.ts";

/** The message for the cgroup version that the container is in. */
export function toStats(metrics: Awaited<ReturnType<Container["metrics"]>>): Any {
  switch (metrics.version) {
    case 1:
      return {
        typeUrl: "io.containerd.cgroups.v1.Metrics",
        value: MetricsV1.encode(metrics.metrics).finish(),
      };
    case 2:
      return {
        typeUrl: "io.containerd.cgroups.v2.Metrics",
        value: MetricsV2.encode(metrics.metrics).finish(),
      };
  }
}
