/** The figures of a container, in the shape of the wire message for its cgroup version. */

import { ShimError } from "../base/error.ts";
import type { CgroupLocation } from "./cgroup.ts";
import { HUGE_PAGES_DIRECTORY, hugePageSizes } from "./huge-pages.ts";
import { OpenStatFiles } from "./stat-directory.ts";
import { type MetricsV1, readMetricsV1 } from "./v1/metrics.ts";
import { type MetricsV2, readMetricsV2 } from "./v2/metrics.ts";

export type CgroupMetrics =
  | { readonly version: 1; readonly metrics: MetricsV1 }
  | { readonly version: 2; readonly metrics: MetricsV2 };

/** Other places to read figures from; fixture directories in tests. */
export interface MetricsRoots {
  readonly proc: string;
  readonly hugePages: string;
}

const SYSTEM_ROOTS: MetricsRoots = { proc: "/proc", hugePages: HUGE_PAGES_DIRECTORY };

/** Reads the figures of one container, whose files stay open meanwhile. */
export class MetricsReader implements Disposable {
  readonly #location: CgroupLocation;
  readonly #proc: string;
  /** The kernel offers the same ones until it is rebooted. */
  readonly #hugePageSizes: readonly string[];
  readonly #files = new OpenStatFiles();

  constructor(location: CgroupLocation, roots = SYSTEM_ROOTS) {
    this.#location = location;
    this.#proc = roots.proc;
    this.#hugePageSizes = hugePageSizes(roots.hugePages);
  }

  /**
   * Reads all figures, each file once, synchronously. Throws ShimError `notFound` when the cgroup is
   * gone; what individual controllers or files do not offer is undefined in the answer.
   */
  read(): CgroupMetrics {
    const sources = { files: this.#files, hugePageSizes: this.#hugePageSizes, proc: this.#proc };
    if (this.#location.version === 1) {
      const metrics = readMetricsV1(this.#location.paths, sources);
      if (metrics !== undefined) return { version: 1, metrics };
    } else {
      const metrics = readMetricsV2(this.#location.path, sources);
      if (metrics !== undefined) return { version: 2, metrics };
    }
    this[Symbol.dispose]();
    throw new ShimError("notFound", "cgroup does not exist");
  }

  /** Closes the files. A file that is read again is opened again. */
  [Symbol.dispose](): void {
    this.#files[Symbol.dispose]();
  }
}
