/** Whether anything happens to a shim: frames that come, descriptors that are ready. */

import type { Poller } from "../linux/poller.ts";
import type { TtrpcServer } from "../rpc/ttrpc/server.ts";
import type { SinceTrim } from "./rhythm.ts";

/** What counts activity, and can report it. */
export interface ActivitySources {
  readonly poller: Pick<Poller, "wakeups" | "onWakeup">;
  readonly server: Pick<TtrpcServer, "received" | "onReceived">;
}

/** What has happened between looks. */
export class Activity {
  readonly #sources: ActivitySources;
  /** The count at the last look; none has been taken yet. */
  #count = -1;
  #trimmedAt = { count: 0, ms: Number.NEGATIVE_INFINITY };
  #lookedAtMs = 0;
  #quietSinceMs = performance.now();

  constructor(sources: ActivitySources) {
    this.#sources = sources;
  }

  /** When the last look was, by `performance.now()`; 0 before the first. */
  get lookedAtMs(): number {
    return this.#lookedAtMs;
  }

  /** Since when it has been quiet: the last look that found something, or {@link putOffQuiet}. */
  get quietSinceMs(): number {
    return this.#quietSinceMs;
  }

  /** Something has happened since the last look, or the last look found something. */
  get isActive(): boolean {
    return this.#quietSinceMs === this.#lookedAtMs || this.#countNow() !== this.#count;
  }

  /** Takes a look: whether nothing has happened since the last. */
  look(): boolean {
    this.#lookedAtMs = performance.now();
    const count = this.#countNow();
    if (count === this.#count) return true;
    this.#count = count;
    this.#quietSinceMs = this.#lookedAtMs;
    return false;
  }

  /** When the heap was last trimmed; minus infinity where it never was. */
  get trimmedAtMs(): number {
    return this.#trimmedAt.ms;
  }

  /** As of the last look. */
  get sinceTrim(): SinceTrim {
    return {
      activity: this.#count - this.#trimmedAt.count,
      elapsedMs: this.#lookedAtMs - this.#trimmedAt.ms,
      quietForMs: this.#lookedAtMs - this.#quietSinceMs,
    };
  }

  /** The heap was trimmed, at the last look. */
  noteTrim(): void {
    this.#trimmedAt = { count: this.#count, ms: this.#lookedAtMs };
  }

  /** Quiet begins anew: what was to be done in it could not be done. */
  putOffQuiet(): void {
    this.#quietSinceMs = performance.now();
  }

  /** Calls `listener` when something happens, once. */
  onNext(listener: () => void): void {
    const { poller, server } = this.#sources;
    const tell = () => {
      poller.onWakeup = undefined;
      server.onReceived = undefined;
      listener();
    };
    poller.onWakeup = tell;
    server.onReceived = tell;
  }

  #countNow(): number {
    const { poller, server } = this.#sources;
    return poller.wakeups + server.received;
  }
}
