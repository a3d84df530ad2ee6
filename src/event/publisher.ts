/**
 * Hands events to containerd, in order, each at least once.
 *
 * Publishing only appends to a journal and never waits: no RPC and no exit is delayed by a manager that
 * is slow, hung or gone. The oldest event is sent, and dropped only when containerd has taken it, so nothing
 * overtakes. When the manager is reached, and when again, is in `connection.ts`.
 */

import type { Inventory } from "../base/inventory.ts";
import { within } from "../base/limit.ts";
import { type ConnectionOptions, type EventsService, ManagerConnection } from "./connection.ts";
import { Journal, type JournalBounds, type JournalState, type JournalStore } from "./journal.ts";
import type { TaskEvent } from "./task-event.ts";
import { toTimestamp } from "./timestamp.ts";

export interface PublisherOptions extends Omit<ConnectionOptions, "connect" | "isInherited"> {
  readonly namespace: string;
  /** Opens a connection; rejects when nobody answers. Undefined: there is no manager to tell. */
  readonly connect: (() => Promise<EventsService>) | undefined;
  /** Where events that are not taken are kept; nowhere by default. */
  readonly store?: JournalStore;
  /** What an earlier process has left to be sent. */
  readonly journal?: JournalState;
  /** How long an event may be on its way before it is kept in the store, milliseconds. */
  readonly momentMs?: number;
  readonly bounds?: JournalBounds;
}

const MOMENT_MS = 250;

/** An ordered, numbered stream of events to one manager. */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #journal: Journal;
  readonly #manager: ManagerConnection | undefined;
  /** Ends when nothing waits any more; undefined while nothing does. */
  #sending: Promise<void> | undefined;

  constructor(options: PublisherOptions) {
    const { connect, journal, store, bounds } = options;
    this.#options = options;
    this.#journal = new Journal(journal, store, bounds);
    if (connect !== undefined) {
      const isInherited = journal !== undefined;
      this.#manager = new ManagerConnection({ ...options, connect, isInherited });
    }
    if (this.pending > 0) this.#sending = this.#sendAll();
  }

  /** Whether there is anybody to hand events to; if not, none is kept. */
  get hasManager(): boolean {
    return this.#manager !== undefined;
  }

  /** Events that were given up because the journal was full. */
  get dropped(): number {
    return this.#journal.dropped;
  }

  /** Events that containerd has not taken yet. */
  get pending(): number {
    return this.#journal.length;
  }

  /** Everything not taken yet, for a successor. The head may have been taken all the same. */
  get state(): JournalState {
    return this.#journal.state;
  }

  /** Adds to `inventory` whether an event is on its way, and may have been taken, and whether any waits. */
  inspect(inventory: Inventory): void {
    const isOnItsWay = this.#sending !== undefined && this.#manager?.isWaiting === false;
    if (isOnItsWay) inventory.addObstacle("an event is being sent");
    if (this.pending > 0) inventory.addErrand("events wait for containerd");
  }

  /** Appends an event about the task in `bundle`; its time is now. Returns at once. */
  publish({ topic, event }: TaskEvent, bundle: string): void {
    if (!this.hasManager) return;
    const { namespace, log } = this.#options;
    const wasWhole = this.dropped === 0;
    const envelope = { timestamp: toTimestamp(Date.now()), namespace, topic, event };
    this.#journal.append(bundle, envelope);
    if (wasWhole && this.dropped > 0) {
      log.error("Event journal is full: oldest events are given up", { pending: this.pending });
    }
    this.#sending ??= this.#sendSoon();
  }

  /** Connects ahead of an event that is about to come, so that it need not wait for that. Returns at once. */
  prepare(): void {
    // Where a connection is tried again already, that goes by its own pace.
    if (this.#sending === undefined) this.#manager?.prepare();
  }

  /** Waits until all is taken, at most `timeoutMs` milliseconds. */
  async drain(timeoutMs: number): Promise<void> {
    if (this.#sending !== undefined) await within(this.#sending, timeoutMs);
  }

  /**
   * Sends what it can within `timeoutMs` milliseconds, whoever listens, and closes the connection.
   * What is left then is in the store.
   */
  async stop(timeoutMs: number): Promise<void> {
    this.#manager?.hurry();
    await this.drain(timeoutMs);
    this.#manager?.close();
    if (this.pending > 0) {
      this.#options.log.warn("Events were not taken before the end", { left: this.pending });
    }
    this.#journal.leave();
  }

  /**
   * Not before the next turn: whoever asked for what is published is about to get the answer, and a manager
   * that is woken by the event first takes the processor from us.
   */
  async #sendSoon(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    setImmediate(resolve);
    await promise;
    await this.#sendAll();
  }

  async #sendAll(): Promise<void> {
    const keep = () => this.#journal.keep();
    for (let { head } = this.#journal; head !== undefined; { head } = this.#journal) {
      const timer = setTimeout(keep, this.#options.momentMs ?? MOMENT_MS);
      const isTaken = await this.#manager?.deliver(head.envelope, keep);
      clearTimeout(timer);
      if (isTaken === false) break;
      this.#journal.shift();
    }
    this.#sending = undefined;
  }
}
