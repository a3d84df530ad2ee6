/** When to look at a shim, and when it dozes and sleeps: pure decisions. */

/** A shim that is woken shortly after it fell asleep waits longer the next time, up to this many times as long. */
export const PATIENCE_FACTOR = 12;
/** Sleeping for less than this many times the wait was not worth it. */
const WORTH_FACTOR = 6;

/** A shim that has been quiet for TRIM_QUIET_MS has its heap trimmed, after this much activity. */
const TRIM_ACTIVITY = 250;
const TRIM_QUIET_MS = 1000;
/**
 * A shim that does not become quiet has its heap trimmed after this much activity, and no sooner than
 * TRIM_BUSY_MS after the last time: otherwise the engine lets the heap grow to several times what it holds.
 * Near the memory ceiling it is trimmed at once.
 */
const TRIM_BUSY_ACTIVITY = 2000;
const TRIM_BUSY_MS = 5000;

/** How long it has to be quiet before a shim dozes, and how long the engine has to give freed pages back. */
const DOZE_QUIET_MS = 2000;
const DOZE_AFTER_TRIM_MS = 1000;

/** What has happened since the heap was last trimmed, in frames and wake-ups. */
export interface SinceTrim {
  readonly activity: number;
  readonly elapsedMs: number;
  readonly quietForMs: number;
}

/**
 * Whether to look at a shim to which nothing happens: something happened before the last look, garbage is
 * left, or a renewal is due, or one that failed is to be tried again.
 */
export function isLookDue(looked: {
  readonly isActive: boolean;
  readonly sinceTrim: Pick<SinceTrim, "activity">;
  readonly lookedAtMs: number;
  readonly grownSinceMs: number | undefined;
  readonly restsUntilMs: number;
}): boolean {
  const { isActive, sinceTrim, lookedAtMs, grownSinceMs, restsUntilMs } = looked;
  if (isActive || sinceTrim.activity >= TRIM_ACTIVITY) return true;
  return grownSinceMs !== undefined || lookedAtMs < restsUntilMs;
}

/** Whether the heap is to be trimmed. */
export function isTrimDue({ activity, elapsedMs, quietForMs }: SinceTrim): boolean {
  if (quietForMs >= TRIM_QUIET_MS) return activity >= TRIM_ACTIVITY;
  return activity >= TRIM_BUSY_ACTIVITY && elapsedMs >= TRIM_BUSY_MS;
}

/** When a shim dozes if it stays quiet. All times are those of one clock. */
export function dozeAtMs(last: {
  readonly quietSinceMs: number;
  readonly trimmedAtMs: number;
}): number {
  return Math.max(last.quietSinceMs + DOZE_QUIET_MS, last.trimmedAtMs + DOZE_AFTER_TRIM_MS);
}

/** How much quiet to wait for the next time, after a sleep of `sleptMs` that followed `quietMs` of quiet. */
export function nextQuietMs(quietMs: number, sleptMs: number, configuredMs: number): number {
  if (sleptMs >= quietMs * WORTH_FACTOR) return configuredMs;
  return Math.min(quietMs * 2, configuredMs * PATIENCE_FACTOR);
}
