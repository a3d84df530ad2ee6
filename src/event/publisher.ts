/**
 * Hands events to containerd, in order, each at least once.
 *
 * Publishing only appends to a journal and never waits: no RPC and no exit is delayed by a manager that
 * is slow, hung or gone. One forwarder takes the oldest event, sends it, and drops it only when
 * containerd has taken it, so nothing overtakes. While the manager takes events nothing is written to
 * disk. As soon as one is not taken within a moment, all waiting events are kept in a store too, so that
 * they outlive this process.
 */

import { messageOf } from "../base/error.ts";
import type { Inventory } from "../base/inventory.ts";
import { within } from "../base/limit.ts";
import type { Logger } from "../base/log.ts";
import type { Envelope } from "../gen/containerd/types/event.ts";
import { Journal, type JournalBounds, type JournalEntry, type JournalState } from "./journal.ts";
import { type JournalStore, NO_STORE } from "./journal-file.ts";
import type { TaskEvent } from "./task-event.ts";
import { toTimestamp } from "./timestamp.ts";

/** A connection to an events service. */
export interface EventSink {
  /** Resolves when the event has been taken; rejects on refusal, timeout, or a broken connection. */
  forward(envelope: Envelope): Promise<void>;
  close(): void;
  /** Resolves when the connection has ended, whoever ended it. Never rejects. */
  readonly closed?: Promise<void>;
  /** How long the service had been there when the connection was made, milliseconds; undefined if unknown. */
  readonly ageMs?: number | undefined;
}

export interface PublisherOptions {
  readonly namespace: string;
  /** Opens a connection; rejects when nobody answers. Undefined: there is no manager to tell. */
  readonly connect: (() => Promise<EventSink>) | undefined;
  readonly log: Logger;
  /** Where events that are not taken are kept; nowhere by default. */
  readonly store?: JournalStore;
  /** What an earlier process has left to be sent. */
  readonly journal?: JournalState;
  /** Milliseconds between attempts while the manager cannot be reached; the last one repeats. */
  readonly retryDelaysMs?: readonly number[];
  /** How long an event may be on its way before it is kept in the store, milliseconds. */
  readonly momentMs?: number;
  /** How long a manager that has come back is given until its own listeners have done so, milliseconds. */
  readonly settleMs?: number;
  readonly bounds?: JournalBounds;
}

const RETRY_DELAYS_MS: readonly number[] = [50, 100, 250, 500, 1000];
const MOMENT_MS = 250;
/**
 * dockerd learns of exits only from containerd's events, and containerd keeps none for it: what is sent
 * before dockerd subscribes again is lost to it. It reconnects every 3.6 seconds at the longest.
 */
const SETTLE_MS = 5000;

/** An ordered, numbered stream of events to one manager. */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #store: JournalStore;
  readonly #journal: Journal;
  #sink: EventSink | undefined;
  #connecting: Promise<EventSink | undefined> | undefined;
  #forwarding: Promise<void> | undefined;
  #endPause: (() => void) | undefined;
  /** Waits for nothing any more except what is on its way. */
  #isHasty = false;
  #isStopping = false;
  #isSending = false;
  /** The manager does not take what it is sent: everything that waits is in the store too. */
  #isOutage = false;
  /** The last attempt has failed, or the next is left to another process. */
  #isReturning = false;
  /** When nobody answered last, by the clock of `performance.now`, which nobody sets. */
  #absentAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#store = options.store ?? NO_STORE;
    this.#journal = new Journal(options.journal, options.bounds);
    // Since when the manager is there, only the process before this one knew.
    this.#isReturning = options.journal !== undefined;
    if (this.#journal.head === undefined) return;
    // The process that left them may have stored them too: those files are this process's from now on.
    this.#beginOutage();
    this.#forwarding = this.#forwardAll();
  }

  /** Whether there is anybody to hand events to; if not, none is kept. */
  get hasManager(): boolean {
    return this.#options.connect !== undefined;
  }

  /** Events that were given up because the journal was full. */
  get dropped(): number {
    return this.#journal.dropped;
  }

  /** Events that containerd has not taken yet. */
  get pending(): number {
    return this.#journal.entries.length;
  }

  /** Everything not taken yet, for a successor. The head may have been taken all the same. */
  get state(): JournalState {
    return this.#journal.state;
  }

  /** Adds to `inventory` whether an event is on its way, and may have been taken, and whether any waits. */
  inspect(inventory: Inventory): void {
    if (this.#isSending) inventory.addObstacle("an event is being sent");
    if (this.pending > 0) inventory.addErrand("events wait for containerd");
  }

  /** Appends an event about the task in `bundle`; its time is now. Returns at once. */
  publish({ topic, event }: TaskEvent, bundle: string): void {
    if (this.#options.connect === undefined) return;
    const { namespace, log } = this.#options;
    const wasWhole = this.dropped === 0;
    const envelope = { timestamp: toTimestamp(Date.now()), namespace, topic, event };
    const lost = this.#journal.append(bundle, envelope);
    if (lost.length > 0 && wasWhole) {
      log.error("Event journal is full: oldest events are given up", { pending: this.pending });
    }
    if (this.#isOutage) {
      for (const entry of lost) this.#store.release(entry);
      this.#store.save(this.#journal.entries);
    }
    this.#forwarding ??= this.#forwardSoon();
  }

  /** Connects ahead of an event that is about to come, so that it need not wait for that. Returns at once. */
  prepare(): void {
    // Where a connection is tried again already, that goes by its own pace.
    if (this.#sink !== undefined || this.#forwarding !== undefined || this.#isStopping) return;
    this.#open().catch(() => {});
  }

  /** Waits until all is taken, at most `timeoutMs` milliseconds. */
  async drain(timeoutMs: number): Promise<void> {
    if (this.#forwarding !== undefined) await within(this.#forwarding, timeoutMs);
  }

  /**
   * Sends what it can within `timeoutMs` milliseconds, whoever listens, and closes the connection.
   * What is left then is in the store.
   */
  async stop(timeoutMs: number): Promise<void> {
    this.#isHasty = true;
    this.#endPause?.();
    await this.drain(timeoutMs);
    this.#isStopping = true;
    this.#endPause?.();
    this.#sink?.close();
    if (this.pending > 0) {
      this.#beginOutage();
      this.#options.log.warn("Events were not taken before the end", { left: this.pending });
    }
    this.#store.close();
  }

  /**
   * Not before the next turn: whoever asked for what is published is about to get the answer, and a manager
   * that is woken by the event first takes the processor from us.
   */
  async #forwardSoon(): Promise<void> {
    this.#isSending = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    setImmediate(resolve);
    await promise;
    await this.#forwardAll();
  }

  async #forwardAll(): Promise<void> {
    let failures = 0;
    for (;;) {
      const { head } = this.#journal;
      if (head === undefined || this.#isStopping) break;
      try {
        await this.#send(head);
        if (failures > 0) this.#options.log.info("Events are taken again", { after: failures });
        failures = 0;
        // It may have ended right after its answer.
        this.#isReturning = this.#sink === undefined;
      } catch (error) {
        this.#sink?.close();
        this.#sink = undefined;
        if (this.#isStopping) break;
        if (failures === 0) {
          this.#options.log.warn("Event not taken, will be sent again", {
            topic: head.envelope.topic,
            error: messageOf(error),
          });
        }
        this.#beginOutage();
        this.#isReturning = true;
        await this.#pause(this.#retryDelayMs(failures++));
      }
    }
    this.#isSending = false;
    this.#forwarding = undefined;
  }

  /**
   * Resolves when the manager has taken it, and it is out of the journal: at no instant does an event that
   * was taken show as waiting. A manager that takes its time does not keep it from being stored.
   */
  async #send(entry: JournalEntry): Promise<void> {
    const momentMs = this.#options.momentMs ?? MOMENT_MS;
    const timer = setTimeout(() => this.#beginOutage(), momentMs);
    this.#isSending = true;
    try {
      const sink = this.#sink ?? (await this.#open());
      await sink?.forward(entry.envelope);
      this.#taken(entry);
    } finally {
      clearTimeout(timer);
      this.#isSending = false;
    }
  }

  /** The connection that is being made, or a new one; kept until it ends. Rejects when nobody answers. */
  async #open(): Promise<EventSink | undefined> {
    this.#connecting ??= this.#connect();
    try {
      const sink = await this.#connecting;
      if (this.#isStopping) sink?.close();
      else this.#sink = sink;
      void sink?.closed?.then(() => this.#lost(sink));
      return sink;
    } finally {
      this.#connecting = undefined;
    }
  }

  /** A manager that ends takes its connections with it, and needs time when it is back. */
  #lost(sink: EventSink): void {
    if (this.#sink !== sink) return;
    this.#sink = undefined;
    this.#isReturning = true;
    this.#absentAtMs = performance.now();
  }

  /** Connects; to a manager that has just come back, only once its listeners had time to do the same. */
  async #connect(): Promise<EventSink | undefined> {
    const { connect, settleMs = SETTLE_MS } = this.#options;
    let sink: EventSink | undefined;
    try {
      sink = await connect?.();
    } catch (error) {
      this.#absentAtMs = performance.now();
      throw error;
    }
    if (!this.#isReturning || this.#isHasty || sink?.ageMs === undefined) return sink;
    // It has come since, however old the clock, which may have been set meanwhile, makes it look.
    const ageMs = Math.min(sink.ageMs, performance.now() - this.#absentAtMs);
    if (ageMs >= settleMs) return sink;
    // If the clock was set back, it seems yet to come.
    await this.#pause(Math.min(settleMs - ageMs, settleMs));
    return sink;
  }

  #taken(entry: JournalEntry): void {
    this.#journal.shift();
    if (!this.#isOutage || this.#isStopping) return;
    if (this.#journal.head === undefined) {
      this.#isOutage = false;
      this.#store.clear();
    } else {
      this.#store.release(entry);
    }
  }

  #beginOutage(): void {
    this.#isOutage = true;
    this.#store.save(this.#journal.entries);
  }

  #retryDelayMs(failures: number): number {
    const delays = this.#options.retryDelaysMs ?? RETRY_DELAYS_MS;
    return delays[Math.min(failures, delays.length - 1)] ?? 0;
  }

  async #pause(delayMs: number): Promise<void> {
    if (this.#isStopping) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, delayMs);
    this.#endPause = resolve;
    await promise;
    clearTimeout(timer);
    this.#endPause = undefined;
  }
}
