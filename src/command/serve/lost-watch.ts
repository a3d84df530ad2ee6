/** When a shim checks whether what has ended is still somebody's (`service/lost.ts`). */

import { LOST_LOOK_MS } from "../../service/lost.ts";

/** What is looked at. */
export interface Endings {
  /** Whether a container has ended and is not deleted. */
  readonly hasEnded: () => boolean;
  /** Forgets containers that nobody will delete any more. Never throws. */
  readonly forgetLost: () => void;
}

/** Milliseconds: from an event to the first look, and from one look to the next. */
export interface LostLimits {
  readonly firstMs: number;
  readonly againMs: number;
}

const LIMITS: LostLimits = { firstMs: 5000, againMs: LOST_LOOK_MS };

/** Looks now and then while something has ended, and not at all otherwise. */
export class LostWatch implements Disposable {
  readonly #endings: Endings;
  readonly #limits: LostLimits;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #dueAtMs = Number.POSITIVE_INFINITY;

  constructor(endings: Endings, limits = LIMITS) {
    this.#endings = endings;
    this.#limits = limits;
    // A shim that was asleep may have been woken for this.
    this.#lookAfter(0);
  }

  /** Something has happened to a container. */
  noteEvent(): void {
    this.#lookAfter(this.#limits.firstMs);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #lookAfter(delayMs: number): void {
    const atMs = performance.now() + delayMs;
    if (!this.#endings.hasEnded() || atMs >= this.#dueAtMs) return;
    this.#dueAtMs = atMs;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#dueAtMs = Number.POSITIVE_INFINITY;
      this.#endings.forgetLost();
      this.#lookAfter(this.#limits.againMs);
    }, delayMs);
  }
}
