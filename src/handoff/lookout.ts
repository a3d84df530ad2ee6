/**
 * When a shim is looked at, and how it waits in between.
 *
 * The engine wakes up each second as long as it watches anything, for timers of its own that serve no purpose
 * here. So a shim that has been quiet for some time waits below the event loop, until there is something to do
 * for it or the next look is due: it dozes.
 */

import { messageOf } from "../base/error.ts";
import { waitOnce } from "../linux/poll.ts";
import type { Activity } from "./activity.ts";
import type { Ceiling } from "./ceiling.ts";
import { dozeAtMs, isLookDue } from "./rhythm.ts";

const LOOK_MS = 2;
/** The longest time between two looks at the memory of a shim that clients leave alone. */
const LONGEST_LOOK_MS = 10_000;
/** The time between two looks while calls come, with which memory grows. */
const ACTIVE_LOOK_MS = 100;
/** How often a shim that has grown, or is about to have, checks that, and looks for a quiet instant. */
const GROWN_LOOK_MS = 20;
/** After a doze the event loop has this long to do whatever ended it. */
const PAUSE_MS = 1000;
/** After an attempt to doze that something was in the way of. */
const VAIN_PAUSE_MS = 10_000;

export interface LookoutOptions {
  readonly activity: Activity;
  readonly ceiling: Ceiling;
  /** Quiet before sleep, as configured; 0: never. */
  readonly sleepAfterMs: number;
  /** Quiet before sleep now. */
  readonly quietMs: () => number;
  /** Whether the shim sleeps after enough quiet. */
  readonly sleepsNext: () => boolean;
  readonly look: () => Promise<void>;
  readonly onFailure: (reason: string) => void;
  /**
   * Until when nothing is due, by `performance.now()`; undefined while something is in flight for which the
   * event loop has to turn.
   */
  readonly restsUntilMs: () => number | undefined;
  /** The epoll instance of the event loop; undefined where it cannot be found. */
  readonly eventLoop: () => number | undefined;
}

/** Looks again and again, until disposal. */
export class Lookout implements Disposable {
  readonly #options: LookoutOptions;
  #isDisposed = false;
  #hasFailed = false;
  #noDozeBeforeMs = Number.NEGATIVE_INFINITY;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: LookoutOptions) {
    this.#options = options;
  }

  /** Looks when the time has come; in a quiet shim also soon after something has happened. */
  lookLater(): void {
    if (this.#isDisposed) return;
    clearTimeout(this.#timer);
    const { activity } = this.#options;
    if (!activity.isActive) activity.onNext(() => this.lookLater());
    const delayMs = Math.min(this.#lookDelayMs(), this.#dozeDelayMs());
    if (delayMs !== Number.POSITIVE_INFINITY) this.#lookAfter(delayMs);
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    clearTimeout(this.#timer);
  }

  #lookAfter(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), Math.max(delayMs, LOOK_MS));
  }

  async #look(): Promise<void> {
    try {
      await this.#options.look();
      this.#hasFailed = false;
    } catch (error) {
      this.#hasFailed = true;
      this.#options.onFailure(messageOf(error));
    }
    if (this.#doze()) this.#lookAfter(LOOK_MS);
    else this.lookLater();
  }

  /** Infinite where no look is due before something happens. */
  #lookDelayMs(): number {
    const { activity, ceiling } = this.#options;
    if (ceiling.grownSinceMs !== undefined) return GROWN_LOOK_MS;
    if (!activity.isActive) return Math.min(this.#sleepDelayMs(), this.#quietLookDelayMs());
    if (!ceiling.isSet) return this.#periodMs;
    return Math.min(this.#periodMs, ceiling.isNear ? GROWN_LOOK_MS : ACTIVE_LOOK_MS);
  }

  #sleepDelayMs(): number {
    const { activity, quietMs, sleepsNext } = this.#options;
    if (!sleepsNext()) return Number.POSITIVE_INFINITY;
    const leftMs = activity.quietSinceMs + quietMs() - performance.now();
    // Something that is in the way of sleep may take long.
    return leftMs > 0 ? leftMs : this.#periodMs;
  }

  #quietLookDelayMs(): number {
    const { isActive, sinceTrim, lookedAtMs } = this.#options.activity;
    const { grownSinceMs, restsUntilMs } = this.#options.ceiling;
    const isDue = isLookDue({ isActive, sinceTrim, lookedAtMs, grownSinceMs, restsUntilMs });
    return isDue || this.#hasFailed ? this.#periodMs : Number.POSITIVE_INFINITY;
  }

  get #periodMs(): number {
    const { sleepAfterMs, quietMs } = this.#options;
    const periodMs = sleepAfterMs === 0 ? LONGEST_LOOK_MS : Math.min(quietMs(), LONGEST_LOOK_MS);
    return Math.max(periodMs / 2, LOOK_MS);
  }

  /** Infinite where the shim does not doze before something happens. */
  #dozeDelayMs(): number {
    const { activity } = this.#options;
    if (activity.isActive || this.#hasFailed) return Number.POSITIVE_INFINITY;
    const { quietSinceMs, trimmedAtMs } = activity;
    const atMs = Math.max(dozeAtMs({ quietSinceMs, trimmedAtMs }), this.#noDozeBeforeMs);
    return atMs - performance.now();
  }

  /** Dozes if it is time to; whether it did. */
  #doze(): boolean {
    if (this.#isDisposed || this.#dozeDelayMs() > 0) return false;
    const { restsUntilMs, eventLoop } = this.#options;
    const untilMs = restsUntilMs();
    const loop = untilMs === undefined ? undefined : eventLoop();
    if (untilMs === undefined || loop === undefined) {
      this.#noDozeBeforeMs = performance.now() + VAIN_PAUSE_MS;
      return false;
    }
    waitOnce(loop, Math.min(untilMs - performance.now(), this.#lookDelayMs()));
    this.#noDozeBeforeMs = performance.now() + PAUSE_MS;
    return true;
  }
}
