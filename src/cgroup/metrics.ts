/** The figures of a container, in the shape of the message that its version of cgroups has on the wire. */

import { ShimError } from "../base/error.ts";
import type { CgroupLocation } from "./cgroup.ts";
import { HUGE_PAGES_DIRECTORY } from "./huge-pages.ts";
import { type MetricsV1, readMetricsV1 } from "./v1/metrics.ts";
import { type MetricsV2, readMetricsV2 } from "./v2/metrics.ts";

export type CgroupMetrics =
  | { readonly version: 1; readonly metrics: MetricsV1 }
  | { readonly version: 2; readonly metrics: MetricsV2 };

/** Where else figures come from; fixture directories in tests. */
export interface MetricsRoots {
  readonly proc: string;
  readonly hugePages: string;
}

const SYSTEM_ROOTS: MetricsRoots = { proc: "/proc", hugePages: HUGE_PAGES_DIRECTORY };

/**
 * Reads all figures, each file once, synchronously. Throws ShimError `notFound` when the cgroup is
 * gone; what single controllers or files do not offer is undefined in the answer.
 */
export function readMetrics(location: CgroupLocation, roots = SYSTEM_ROOTS): CgroupMetrics {
  if (location.version === 1) {
    const metrics = readMetricsV1(location.paths, roots);
    if (metrics !== undefined) return { version: 1, metrics };
  } else {
    const metrics = readMetricsV2(location.path, roots);
    if (metrics !== undefined) return { version: 2, metrics };
  }
  throw new ShimError("notFound", "cgroup does not exist");
}
