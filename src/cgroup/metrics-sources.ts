/** What the figures of a container are read from, whatever the cgroup version. */

import type { OpenStatFiles } from "./stat-directory.ts";

/** What the readers of either version read from. */
export interface MetricsSources {
  readonly files: OpenStatFiles;
  readonly hugePageSizes: readonly string[];
  /** Where procfs is. */
  readonly proc: string;
}
