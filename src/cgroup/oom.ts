/** OOM kills in a container: one interface over both cgroup versions. */

import type { Inventory } from "../base/inventory.ts";
import { type Shaped, tagged } from "../base/shape.ts";
import type { Poller } from "../linux/poller.ts";
import type { CgroupLocation } from "./cgroup.ts";
import { V1OomWatch, v1OomFields } from "./v1/oom.ts";
import { V2OomWatch, v2OomFields } from "./v2/oom.ts";

/** A watch as it is handed over: its descriptor, and what it has reported. */
export const oomState = tagged({ v1: v1OomFields, v2: v2OomFields, none: {} });
export type OomState = Shaped<typeof oomState>;

/** A watch over a container's cgroup. Disposing ends it at once and closes what it opened. */
export interface OomWatch extends Disposable {
  /** Reports at once kills that are counted and not reported yet; if a victim's exit was seen, its kill is counted. */
  check(): void;
  /**
   * Reports what has not been reported yet. To be awaited after init's exit and before that is published.
   *
   * Settles without delay, except in one case: the cgroup (v1) is already gone, and the one
   * notification that came is either its end or a kill. The kernel's next notification tells which;
   * it comes within milliseconds, and is waited for at most half a second. Never rejects.
   */
  finalCheck(): Promise<void>;
  /** For {@link restoreOom}. */
  snapshot(inventory: Inventory): OomState;
}

/** Where memory is not accounted, nothing is killed for it. */
const NOTHING_TO_WATCH: OomWatch = {
  check: () => {},
  finalCheck: () => Promise.resolve(),
  snapshot: () => ({ kind: "none" }),
  [Symbol.dispose]: () => {},
};

/**
 * Calls `onOom` after the OOM killer has killed one or more processes in the container's cgroup, or below
 * it; kills that are found together are reported once. `onOom` is never called from within this
 * function, nor for earlier kills. Without a memory controller the watch is idle.
 * Throws SystemError when the kernel grants no descriptor or no registration.
 */
export function watchOom(location: CgroupLocation, poller: Poller, onOom: () => void): OomWatch {
  if (location.version === 2) {
    return V2OomWatch.open(location.path, poller, onOom) ?? NOTHING_TO_WATCH;
  }
  const directory = location.paths["memory"];
  if (directory === undefined) return NOTHING_TO_WATCH;
  return V1OomWatch.open(directory, poller, onOom) ?? NOTHING_TO_WATCH;
}

/** A watch that continues where another left off, over the same descriptor: no kill is missed or reported twice. */
export function restoreOom(state: OomState, poller: Poller, onOom: () => void): OomWatch {
  switch (state.kind) {
    case "v1":
      return V1OomWatch.restore(state, poller, onOom);
    case "v2":
      return V2OomWatch.restore(state, poller, onOom);
    case "none":
      return NOTHING_TO_WATCH;
  }
}
