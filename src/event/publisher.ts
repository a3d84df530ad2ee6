/**
 * Hands events to containerd, in order, each at least once.
 *
 * Publishing only appends to a journal in memory and never waits: no RPC and no exit is delayed by a
 * manager that is slow, hung or gone. One forwarder takes the oldest event, sends it, and drops it only
 * when containerd has taken it; so nothing overtakes. The journal is bounded: beyond the limit the
 * oldest is given up and counted.
 */

import { messageOf } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import type { Envelope } from "../gen/containerd/types/event.ts";
import type { TaskEvent } from "./task-event.ts";
import { toTimestamp } from "./timestamp.ts";

/** A connection to an events service. */
export interface EventSink {
  /** Resolves when the event has been taken; rejects on refusal, time-out, or a broken connection. */
  forward(envelope: Envelope): Promise<void>;
  close(): void;
}

export interface PublisherOptions {
  readonly namespace: string;
  /** Opens a connection; rejects when nobody answers. Undefined: there is no manager to tell. */
  readonly connect: (() => Promise<EventSink>) | undefined;
  readonly log: Logger;
  /** Milliseconds between tries while the manager cannot be reached; the last one repeats. */
  readonly retryDelaysMs?: readonly number[];
  readonly journalLengthMax?: number;
}

const RETRY_DELAYS_MS: readonly number[] = [50, 100, 250, 500, 1000];
/** Some 300 bytes each: 2.5 MB at worst, and hours of a manager's absence for most hosts. */
const JOURNAL_LENGTH_MAX = 8192;

/** An ordered, numbered stream of events to one manager. */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #retryDelaysMs: readonly number[];
  readonly #journalLengthMax: number;
  readonly #journal: Envelope[] = [];
  #sink: EventSink | undefined;
  #forwarding: Promise<void> | undefined;
  #wakeRetry: (() => void) | undefined;
  #isStopping = false;
  #dropped = 0;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#retryDelaysMs = options.retryDelaysMs ?? RETRY_DELAYS_MS;
    this.#journalLengthMax = options.journalLengthMax ?? JOURNAL_LENGTH_MAX;
  }

  /** Events that were given up because the journal was full. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Events that containerd has not taken yet. */
  get pending(): number {
    return this.#journal.length;
  }

  /** Appends an event; its time is now. Returns at once. */
  publish({ topic, event }: TaskEvent): void {
    if (this.#options.connect === undefined) return;
    const { namespace, log } = this.#options;
    if (this.#journal.length >= this.#journalLengthMax) {
      // The head may be in flight and arrive all the same; the one after it has not been tried.
      this.#journal.splice(1, 1);
      this.#dropped++;
      if (this.#dropped === 1) log.error("Event journal is full: oldest events are given up");
    }
    this.#journal.push({ timestamp: toTimestamp(Date.now()), namespace, topic, event });
    this.#forwarding ??= this.#forwardAll();
  }

  /** Waits until all is taken, at most `timeoutMs`, and lets go of the connection. */
  async stop(timeoutMs: number): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, timeoutMs);
    await Promise.race([this.#forwarding, late.promise]);
    clearTimeout(timer);
    this.#isStopping = true;
    this.#wakeRetry?.();
    this.#sink?.close();
    const left = this.#journal.length;
    if (left > 0) this.#options.log.warn("Events were not taken before the end", { left });
  }

  async #forwardAll(): Promise<void> {
    let failures = 0;
    for (;;) {
      const [head] = this.#journal;
      if (head === undefined || this.#isStopping) break;
      try {
        this.#sink ??= await this.#options.connect?.();
        await this.#sink?.forward(head);
        if (failures > 0) this.#options.log.info("Events are taken again", { after: failures });
        failures = 0;
        this.#journal.shift();
      } catch (error) {
        this.#sink?.close();
        this.#sink = undefined;
        if (failures === 0) {
          this.#options.log.warn("Event not taken, will be sent again", {
            topic: head.topic,
            error: messageOf(error),
          });
        }
        await this.#pause(failures++);
      }
    }
    this.#forwarding = undefined;
  }

  async #pause(failures: number): Promise<void> {
    if (this.#isStopping) return;
    const last = this.#retryDelaysMs.length - 1;
    const delayMs = this.#retryDelaysMs[Math.min(failures, last)] ?? 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, delayMs);
    this.#wakeRetry = resolve;
    await promise;
    clearTimeout(timer);
    this.#wakeRetry = undefined;
  }
}
