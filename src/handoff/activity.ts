/** Whether anything happens to a shim: frames that come, descriptors that are ready. */

import type { Poller } from "../linux/poller.ts";
import type { TtrpcServer } from "../rpc/ttrpc/server.ts";

/** What counts, and can tell, what happens. */
export interface ActivitySources {
  readonly poller: Pick<Poller, "wakeups" | "onWakeup">;
  readonly server: Pick<TtrpcServer, "received" | "onReceived">;
}

/** What has happened from look to look. */
export class Activity {
  readonly #sources: ActivitySources;
  /** As many as there were at the last look; none has been taken yet. */
  #count = -1;
  #trimmedAt = 0;
  #lookedAtMs = 0;
  #quietSinceMs = performance.now();

  constructor(sources: ActivitySources) {
    this.#sources = sources;
  }

  /** When the last look was, by `performance.now()`; 0 before the first. */
  get lookedAtMs(): number {
    return this.#lookedAtMs;
  }

  /** When the last look was that found something, or that is put off to. */
  get quietSinceMs(): number {
    return this.#quietSinceMs;
  }

  /** Something has happened since the last look, or that had found something. */
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

  /** So much has happened, up to the last look, since {@link trimmed}. */
  get sinceTrimmed(): number {
    return this.#count - this.#trimmedAt;
  }

  trimmed(): void {
    this.#trimmedAt = this.#count;
  }

  /** Quiet begins anew: what it was waited for could not be done. */
  beginAnew(): void {
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
