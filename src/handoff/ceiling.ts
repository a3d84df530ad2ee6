/** When a shim whose memory has grown near its ceiling renews itself, and when it leaves that for later. */

import type { Logger } from "../base/log.ts";
import { privateKilobytes } from "../linux/memory.ts";

/** The ceiling is not reached: so much of it is used when a renewal is due. It grows on until there is one. */
const SHARE = 4 / 5;
/** A ceiling that what a shim holds is above in any program is raised to this many times as much. */
const RAISE_FACTOR = 1.5;
/** For one that is busy it is raised step by step: it is known only then how much it needs. */
const BUSY_RAISE_FACTOR = 1.2;
/** A shim holds some three megabytes in values; with so many more it has a leak, or very much to keep. */
const HELD_KILOBYTES = 6 * 1024;
/** A renewed program that comes to the ceiling before it is so old has no leak, but much to do. */
const YOUNG_MS = 10_000;
/** How long a quiet instant is waited for, before one is made. */
const PATIENCE_MS = 200;
/** When calls could not be held up for long enough, so long is rested, then twice as long each time: a client may stay for ever. */
const REST_MS = 1000;
const REST_MAX_MS = 600_000;

/** The private memory that one program of a shim may come to. */
export class Ceiling {
  readonly #log: Logger;
  /** As configured. */
  readonly #ownKilobytes: number;
  /** That, or what it is raised to. */
  #kilobytes: number;
  #grownSinceMs: number | undefined;
  #restMs = REST_MS;
  #restsUntilMs = 0;

  /** `kilobytes`: 0 for none. */
  constructor(kilobytes: number, log: Logger) {
    this.#ownKilobytes = kilobytes * SHARE;
    this.#kilobytes = this.#ownKilobytes;
    this.#log = log;
  }

  get isSet(): boolean {
    return this.#kilobytes > 0;
  }

  /** Since when the shim is to be renewed, by `performance.now()`; undefined while it is not. */
  get grownSinceMs(): number | undefined {
    return this.#grownSinceMs;
  }

  /** Whether there is more than is configured; some of it may be garbage. Throws as reading /proc does. */
  get isExceeded(): boolean {
    return this.isSet && privateKilobytes() >= this.#ownKilobytes;
  }

  /** Whether a renewal is about to be due, if what there is is no garbage. Throws as reading /proc does. */
  get isNewlyReached(): boolean {
    if (!this.isSet || this.#grownSinceMs !== undefined) return false;
    return performance.now() >= this.#restsUntilMs && privateKilobytes() >= this.#kilobytes;
  }

  /**
   * What is left when garbage has been collected, `heldKilobytes` of it in values that are in use. Where the
   * rest is what the engine needs for so much work, it would be there again soon after a renewal.
   */
  collected(heldKilobytes: number, programAgeMs: number): void {
    if (heldKilobytes < HELD_KILOBYTES && programAgeMs < YOUNG_MS) this.raise(BUSY_RAISE_FACTOR);
  }

  get restsUntilMs(): number {
    return this.#restsUntilMs;
  }

  /**
   * What is above the ceiling from the beginning, or soon after it, cannot be brought below it by beginning
   * again. It may be less later, as when events have waited for containerd: then the ceiling is what it was.
   * Throws as reading /proc does.
   */
  raise(factor = RAISE_FACTOR): void {
    const kilobytes = privateKilobytes();
    if (kilobytes < this.#kilobytes) return;
    this.#kilobytes = Math.round(kilobytes * factor);
    this.#log.warn("A renewed shim is above its memory ceiling, which is raised for now", {
      kilobytes,
      ceilingKilobytes: this.#kilobytes,
    });
  }

  /** What is to be done now: nothing, a renewal if it is quiet, or one for which calls are held up. */
  look(): "nothing" | "renew if quiet" | "renew" {
    if (!this.isSet) return "nothing";
    const kilobytes = privateKilobytes();
    if (kilobytes < this.#ownKilobytes) {
      // What it was raised for is gone, and what was in the way may be.
      this.#kilobytes = this.#ownKilobytes;
      this.#restMs = REST_MS;
    }
    if (kilobytes < this.#kilobytes) {
      this.#grownSinceMs = undefined;
      return "nothing";
    }
    const now = performance.now();
    if (now < this.#restsUntilMs) return "nothing";
    this.#grownSinceMs ??= now;
    return now - this.#grownSinceMs < PATIENCE_MS ? "renew if quiet" : "renew";
  }

  /** Not now: something is in the way that is gone in a moment. */
  putOff(): void {
    this.#grownSinceMs = undefined;
  }

  /** Calls were in the way. */
  rest(): void {
    this.#grownSinceMs = undefined;
    this.#restsUntilMs = performance.now() + this.#restMs;
    this.#restMs = Math.min(this.#restMs * 2, REST_MAX_MS);
  }
}
