/**
 * The connection to the manager: made for the first event or ahead of it, kept until it ends, and made again for
 * as long as an event is not taken.
 *
 * dockerd learns of exits only from containerd's events, and containerd keeps none for it: what is sent before
 * dockerd subscribes again is lost to it. So a manager that has come back is told nothing before its own
 * listeners had time to come back too.
 */

import { messageOf } from "../base/error.ts";
import { within } from "../base/limit.ts";
import type { Logger } from "../base/log.ts";
import type { Envelope } from "../gen/containerd/types/event.ts";

/** An events service that has answered. */
export interface EventsService {
  /** Resolves when the event has been taken; rejects on refusal, timeout, or a broken connection. */
  forward(envelope: Envelope): Promise<void>;
  close(): void;
  /** Resolves when the connection has ended, whoever ended it. Never rejects. */
  readonly closed?: Promise<void>;
  /** How long the service had been there when the connection was made, milliseconds; undefined if unknown. */
  readonly ageMs?: number | undefined;
}

export interface ConnectionOptions {
  /** Reaches the manager; rejects when nobody answers. */
  readonly connect: () => Promise<EventsService>;
  readonly log: Logger;
  /** Whether only the process before this one knew since when the manager is there. */
  readonly isInherited: boolean;
  /** Milliseconds between attempts while the manager cannot be reached; the last one repeats. */
  readonly retryDelaysMs?: readonly number[];
  /** How long a manager that has come back is given until its own listeners have done so, milliseconds. */
  readonly settleMs?: number;
}

const RETRY_DELAYS_MS: readonly number[] = [50, 100, 250, 500, 1000];
/** dockerd reconnects every 3.6 seconds at the longest. */
const SETTLE_MS = 5000;

type State =
  | { readonly kind: "none" }
  /** Nobody has answered yet. */
  | { readonly kind: "opening"; readonly opened: Promise<EventsService> }
  /** Whoever has answered has just come back; `hurry` ends the wait for its listeners. */
  | {
      readonly kind: "settling";
      readonly opened: Promise<EventsService>;
      readonly hurry: () => void;
    }
  | { readonly kind: "open"; readonly service: EventsService }
  /** The last attempt has failed; `hurry` ends the wait for the next. */
  | { readonly kind: "pausing"; readonly hurry: () => void }
  | { readonly kind: "closed" };

/** Hands one event after another to a manager, as often as each has to be tried. */
export class ManagerConnection {
  readonly #options: ConnectionOptions;
  #settleMs: number;
  #state: State = { kind: "none" };
  /**
   * When the manager was last found away, by the clock of `performance.now`, which nobody sets; minus infinity if
   * it may have been at any time. Undefined as long as nothing suggests that it was.
   */
  #awayAtMs: number | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#settleMs = options.settleMs ?? SETTLE_MS;
    this.#awayAtMs = options.isInherited ? Number.NEGATIVE_INFINITY : undefined;
  }

  /** Whether nothing is on its way, although there is something to send. */
  get isWaiting(): boolean {
    return this.#state.kind === "settling" || this.#state.kind === "pausing";
  }

  /** Connects ahead of an event. Returns at once. */
  prepare(): void {
    if (this.#state.kind === "none") this.#open().catch(() => {});
  }

  /**
   * Sends an event until the manager has taken it, which resolves to true, or the connection is closed. The one
   * before must be done. `onFailure` is called for each attempt that fails.
   */
  async deliver(envelope: Envelope, onFailure: () => void): Promise<boolean> {
    const { log } = this.#options;
    for (let failures = 0; !this.#isClosed; failures++) {
      try {
        const service = await this.#open();
        await service.forward(envelope);
        if (failures > 0) log.info("Events are taken again", { after: failures });
        // It may have ended right after its answer.
        if (this.#state.kind === "open") this.#awayAtMs = undefined;
        return true;
      } catch (error) {
        if (this.#isClosed) break;
        if (this.#state.kind === "open") this.#state.service.close();
        this.#awayAtMs ??= Number.NEGATIVE_INFINITY;
        if (failures === 0) {
          const fields = { topic: envelope.topic, error: messageOf(error) };
          log.warn("Event not taken, will be sent again", fields);
        }
        onFailure();
        await this.#pause(failures);
      }
    }
    return false;
  }

  /** Tries again at once, and waits for nobody's listeners any more. */
  hurry(): void {
    this.#settleMs = 0;
    if (this.#state.kind === "settling" || this.#state.kind === "pausing") this.#state.hurry();
  }

  /** For good. */
  close(): void {
    this.hurry();
    if (this.#state.kind === "open") this.#state.service.close();
    this.#state = { kind: "closed" };
  }

  get #isClosed(): boolean {
    return this.#state.kind === "closed";
  }

  /** The connection that there is, is being made, or is made now. Rejects when nobody answers. */
  async #open(): Promise<EventsService> {
    const state = this.#state;
    if (state.kind === "open") return state.service;
    if (state.kind === "opening" || state.kind === "settling") return await state.opened;
    const opened = this.#connect();
    this.#enter({ kind: "opening", opened });
    return await opened;
  }

  async #connect(): Promise<EventsService> {
    let service: EventsService;
    try {
      service = await this.#options.connect();
    } catch (error) {
      this.#awayAtMs = performance.now();
      this.#enter({ kind: "none" });
      throw error;
    }
    const settlingMs = this.#settlingMs(service);
    if (settlingMs > 0) await this.#settle(settlingMs);
    if (this.#isClosed) service.close();
    this.#enter({ kind: "open", service });
    void service.closed?.then(() => this.#lost(service));
    return service;
  }

  async #settle(settlingMs: number): Promise<void> {
    const { promise: hurried, resolve: hurry } = Promise.withResolvers<void>();
    if (this.#state.kind === "opening") this.#enter({ ...this.#state, kind: "settling", hurry });
    await within(hurried, settlingMs);
  }

  /** How long the listeners of whoever has answered still need. */
  #settlingMs({ ageMs }: EventsService): number {
    if (this.#awayAtMs === undefined || ageMs === undefined) return 0;
    // It has come since, however old the clock, which may have been set meanwhile, makes it look.
    const presentMs = Math.min(ageMs, performance.now() - this.#awayAtMs);
    // If the clock was set back, it seems yet to come.
    return Math.min(this.#settleMs - presentMs, this.#settleMs);
  }

  /** A manager that ends takes its connections with it, and needs time when it is back. */
  #lost(service: EventsService): void {
    if (this.#state.kind !== "open" || this.#state.service !== service) return;
    this.#enter({ kind: "none" });
    this.#awayAtMs = performance.now();
  }

  async #pause(failures: number): Promise<void> {
    const { retryDelaysMs: delays = RETRY_DELAYS_MS } = this.#options;
    const { promise: hurried, resolve: hurry } = Promise.withResolvers<void>();
    this.#enter({ kind: "pausing", hurry });
    await within(hurried, delays[Math.min(failures, delays.length - 1)] ?? 0);
    this.#enter({ kind: "none" });
  }

  #enter(state: State): void {
    if (!this.#isClosed) this.#state = state;
  }
}
