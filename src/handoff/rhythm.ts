/** When a shim is looked at, and when it sleeps: pure decisions. */

/** A shim that was woken soon after it fell asleep waits longer the next time, up to this many times as long. */
export const PATIENCE_FACTOR = 12;
/** Sleeping for less than this many times the wait was not worth it. */
const WORTH_FACTOR = 6;

/** The heap is trimmed at a quiet instant after so much activity, */
const TRIM_ACTIVITY = 250;
/** and after so much all the same: the engine lets it grow to several times of what it holds. */
const TRIM_BUSY_ACTIVITY = 2000;

/**
 * Whether a shim to which nothing happens has to be looked at all the same: something has happened before
 * the last look, which has left garbage, or a renewal is due, or one that failed is to be tried again.
 */
export function isLookDue(looked: {
  readonly isActive: boolean;
  readonly lookedAtMs: number;
  readonly grownSinceMs: number | undefined;
  readonly restsUntilMs: number;
}): boolean {
  const { isActive, lookedAtMs, grownSinceMs, restsUntilMs } = looked;
  return isActive || grownSinceMs !== undefined || lookedAtMs < restsUntilMs;
}

/** Whether a heap in which so many frames and wake-ups have left their garbage is to be trimmed. */
export function isTrimDue(activity: number, isQuiet: boolean): boolean {
  return activity >= (isQuiet ? TRIM_ACTIVITY : TRIM_BUSY_ACTIVITY);
}

/** How long to wait for quiet the next time, after a sleep of `sleptMs` that followed `quietMs` of it. */
export function nextQuietMs(quietMs: number, sleptMs: number, configuredMs: number): number {
  if (sleptMs >= quietMs * WORTH_FACTOR) return configuredMs;
  return Math.min(quietMs * 2, configuredMs * PATIENCE_FACTOR);
}
