/** What every process of every container is given: the event sources and the log. */

import type { Logger } from "../base/log.ts";
import type { Children } from "../linux/children.ts";
import type { Poller } from "../linux/poller.ts";

export interface ProcessContext {
  readonly poller: Poller;
  readonly children: Children;
  readonly log: Logger;
  /** containerd's namespace of the container. */
  readonly namespace: string;
  /** What programs other than a runtime are started with, `NAME=value`. */
  readonly environment: readonly string[];
  /** $XDG_RUNTIME_DIR, for what exists only for a moment; /tmp without it. */
  readonly runtimeDir?: string | undefined;
}
