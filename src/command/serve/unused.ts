/**
 * When a shim without a container ends by itself, because nobody will ask it to.
 *
 * A manager asks for the end of a shim (Shutdown) after the last Delete. It never does so when
 * - it died between `start` and Create, or between the last Delete and Shutdown: the containerd that comes
 *   after it connects to the empty shim, and asks it for nothing;
 * - it could not record the shim that it has started, as on a full disk: it removes the bundle, but may keep
 *   its connection for minutes;
 * - it removed the sandbox of a pod before the pod's containers (containerd 2.0 to 2.2);
 * - it took the shim for dead, and `delete` has cleaned up the container: the shim finds out, forgets the
 *   container, and then is one without a container.
 */

import { LOST_LOOK_MS } from "../../service/lost.ts";

/** What is watched. */
export interface Used {
  /** Whether there is no container, and none is being created. */
  readonly isEmpty: () => boolean;
  /** Whether a container has ended and is not deleted. */
  readonly hasEnded: () => boolean;
  /** Forgets containers that nobody will delete any more. Never throws. */
  readonly forgetLost: () => void;
  /** Events that no manager has taken yet keep a shim. */
  readonly hasEvents: () => boolean;
  readonly isConnected: () => boolean;
  readonly isCalled: () => boolean;
  /** How much clients have sent so far: while it does not change they are silent. */
  readonly received: () => number;
  readonly hasBundle: () => boolean;
  readonly stop: (reason: string) => void;
}

/** Milliseconds. */
export interface UnusedLimits {
  /**
   * How long a shim waits for its first container. A manager that starts a shim asks for that at once: a
   * containerd 1.6 that was killed in between connects again, and never asks for anything.
   */
  readonly firstMs: number;
  /** How often it checks meanwhile whether its bundle is still there. */
  readonly lookMs: number;
  /** How long it waits after its last container: whoever deleted that asks for the end, if at all, at once. */
  readonly emptiedMs: number;
  /** How long connected but silent clients keep it after that: they may have more containers of a pod. */
  readonly silentMs: number;
  /** How often it checks whether what has ended is lost; first {@link emptiedMs} after the end. */
  readonly endedMs: number;
}

export const UNUSED_LIMITS: UnusedLimits = {
  firstMs: 120_000,
  lookMs: 2000,
  emptiedMs: 5000,
  silentMs: 120_000,
  endedMs: LOST_LOOK_MS,
};

export interface UnusedWatch extends Disposable {
  /** There is a container, or was. */
  used(): void;
  /** The last container was deleted, or the first could not be created. */
  emptied(): void;
}

/** Asks for the end once, or never. Armed from the start; a timer that fires while there is a container does nothing. */
export function watchUnused(shim: Used, limits: UnusedLimits = UNUSED_LIMITS): UnusedWatch {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let hadContainer = !shim.isEmpty();
  let received = -1;
  let lostTimer: ReturnType<typeof setTimeout> | undefined;
  let lostAtMs = Number.POSITIVE_INFINITY;
  let heardAtMs = 0;
  const isSilent = () => {
    const now = performance.now();
    if (shim.received() !== received) heardAtMs = now;
    received = shim.received();
    return now - heardAtMs >= limits.silentMs;
  };
  const arm = (delayMs: number) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (!shim.isEmpty()) return;
      // A shim that had containers is kept by a connected manager for as long as that says something. One
      // whose first could not be created is kept for as long as it takes to ask again.
      const isPatient = hadContainer ? !isSilent() : delayMs < limits.firstMs;
      const isUsed = isPatient ? shim.isConnected() : shim.isCalled();
      if (isUsed || shim.hasEvents()) arm(hadContainer ? delayMs : limits.firstMs);
      else shim.stop("nobody uses it");
    }, delayMs);
  };
  const lookForLost = (delayMs: number) => {
    const atMs = performance.now() + delayMs;
    if (!shim.hasEnded() || atMs >= lostAtMs) return;
    lostAtMs = atMs;
    clearTimeout(lostTimer);
    lostTimer = setTimeout(() => {
      lostAtMs = Number.POSITIVE_INFINITY;
      shim.forgetLost();
      lookForLost(limits.endedMs);
    }, delayMs);
  };
  arm(limits.firstMs);
  // A shim that was asleep may have been woken for this.
  lookForLost(0);
  const look = setInterval(() => {
    if (hadContainer) clearInterval(look);
    else if (shim.isEmpty() && !shim.hasBundle() && !shim.isCalled())
      shim.stop("its bundle was removed");
  }, limits.lookMs);
  return {
    used: () => {
      hadContainer = true;
      lookForLost(limits.emptiedMs);
    },
    emptied: () => {
      received = -1;
      arm(limits.emptiedMs);
    },
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      clearTimeout(lostTimer);
      clearInterval(look);
    },
  };
}
