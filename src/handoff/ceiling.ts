/** When a shim whose memory has grown near its ceiling renews itself, and when it puts that off. */

import type { Logger } from "../base/log.ts";

/** The share of the ceiling at which a renewal is due: memory keeps growing until there is one. */
const SHARE = 3 / 4;
/** The share of that from which a busy program may soon be there: garbage grows by megabytes in a tenth of a second. */
const NEAR_SHARE = 3 / 4;
/** What the engine may need for a busy shim. A renewed one would soon be there again, whatever the ceiling is. */
const BUSY_KILOBYTES = 16 * 1024;
/** If what a shim holds exceeds the ceiling in any program, the ceiling is raised to this many times as much. */
const RAISE_FACTOR = 1.5;
/** A renewed program that reaches the ceiling before this age has no leak, but much to do. */
const YOUNG_MS = 5000;
/** A shim holds some four megabytes in values; with more than this it has a leak, or very much to keep. */
const HELD_BYTES = 5 * 1024 * 1024;
/** How long a quiet instant is waited for before one is forced. */
const PATIENCE_MS = 200;
/** The pause when calls could not be held up long enough; it doubles each time, as a client may stay forever. */
const REST_MS = 1000;
const REST_MAX_MS = 600_000;

/** Whether a renewed program with `heldBytes` in values would need as much memory again after a renewal. */
export function isMerelyBusy(heldBytes: number, programAgeMs: number): boolean {
  return heldBytes < HELD_BYTES && programAgeMs < YOUNG_MS;
}

/** The private memory that one program of a shim may reach, in kilobytes as `privateKilobytes` reports them. */
export class Ceiling {
  readonly #log: Logger;
  /** Where a renewal is due, as configured. */
  readonly #ownKilobytes: number;
  /** The same, or what it is raised to. */
  #kilobytes: number;
  #isNear = false;
  #grownSinceMs: number | undefined;
  #restMs = REST_MS;
  #restsUntilMs = 0;

  /** `kilobytes`: 0 for none. */
  constructor(kilobytes: number, log: Logger) {
    this.#ownKilobytes = Math.round(kilobytes * SHARE);
    this.#kilobytes = this.#ownKilobytes;
    this.#log = log;
  }

  get isSet(): boolean {
    return this.#ownKilobytes > 0;
  }

  /** Whether a busy program may reach it before long, as of the last look. */
  get isNear(): boolean {
    return this.#isNear;
  }

  /** Since when the shim is due to be renewed, by `performance.now()`; undefined while it is not. */
  get grownSinceMs(): number | undefined {
    return this.#grownSinceMs;
  }

  get restsUntilMs(): number {
    return this.#restsUntilMs;
  }

  /** Whether `kilobytes` is more than configured; some of it may be garbage. */
  isExceededBy(kilobytes: number): boolean {
    return this.isSet && kilobytes >= this.#ownKilobytes;
  }

  /** Whether a renewal is about to be due at `kilobytes`, unless they are garbage. */
  isNewlyReachedBy(kilobytes: number): boolean {
    if (!this.isSet || this.#grownSinceMs !== undefined) return false;
    return performance.now() >= this.#restsUntilMs && kilobytes >= this.#kilobytes;
  }

  /**
   * A renewed program begins with `kilobytes`. What exceeds the ceiling from the beginning cannot be brought
   * below it by renewal. It may shrink later, as when events have waited for containerd: then the ceiling
   * returns to what it was.
   */
  begin(kilobytes: number): void {
    if (!this.isExceededBy(kilobytes)) return;
    this.#raise(kilobytes, Math.max(RAISE_FACTOR * kilobytes, BUSY_KILOBYTES));
  }

  /**
   * What to do at `kilobytes`: nothing, a renewal if it is quiet, or one for which calls are held up.
   * `isBusy`: it is a renewed program, and {@link isMerelyBusy}: the next one would be there as soon.
   */
  look(kilobytes: number, isBusy: boolean): "nothing" | "renew if quiet" | "renew" {
    if (!this.isSet) return "nothing";
    const now = performance.now();
    this.#isNear = kilobytes >= this.#kilobytes * NEAR_SHARE;
    if (kilobytes < this.#ownKilobytes) this.#ease(now);
    else if (isBusy && this.#kilobytes < BUSY_KILOBYTES) this.#raise(kilobytes, BUSY_KILOBYTES);
    if (kilobytes < this.#kilobytes || isBusy) {
      this.#grownSinceMs = undefined;
      return "nothing";
    }
    if (now < this.#restsUntilMs) return "nothing";
    this.#grownSinceMs ??= now;
    return now - this.#grownSinceMs < PATIENCE_MS ? "renew if quiet" : "renew";
  }

  /** What it was raised for is gone, and after some time so may be what was in the way. */
  #ease(now: number): void {
    this.#kilobytes = this.#ownKilobytes;
    if (now - this.#restsUntilMs >= this.#restMs) this.#restMs = REST_MS;
  }

  /** Not now: something is in the way that will be gone in a moment. */
  putOff(): void {
    this.#grownSinceMs = undefined;
  }

  /** Calls were in the way. */
  rest(): void {
    this.#grownSinceMs = undefined;
    this.#restsUntilMs = performance.now() + this.#restMs;
    this.#restMs = Math.min(this.#restMs * 2, REST_MAX_MS);
  }

  #raise(kilobytes: number, toKilobytes: number): void {
    this.#kilobytes = Math.round(toKilobytes);
    const fields = { kilobytes, ceilingKilobytes: this.#kilobytes };
    this.#log.warn("A renewed shim is above its memory ceiling, which is raised for now", fields);
  }
}
