/**
 * The events that a manager has not taken yet, in order and numbered.
 *
 * As long as the manager takes them they are in memory alone. When it does not take one within a moment, all that
 * wait are kept in a store too, until it has taken the last, so that they outlive this process.
 *
 * Bounded in number and in bytes. Beyond either bound the oldest event is given up and counted, but never
 * the head: it may be on its way, and would otherwise arrive although it counts as lost.
 */

import type { Envelope } from "../gen/containerd/types/event.ts";

/** One waiting event. */
export interface JournalEntry {
  /** From 1, without gaps except for what was given up. */
  readonly number: number;
  /** Absolute path of the bundle that the event is about: where it may outlive this process. */
  readonly bundle: string;
  readonly envelope: Envelope;
}

/** Everything a journal knows, in a form that can be handed over. */
export interface JournalState {
  readonly entries: readonly JournalEntry[];
  /** Number of the next event. */
  readonly next: number;
  readonly dropped: number;
}

export interface JournalBounds {
  readonly entriesMax: number;
  readonly bytesMax: number;
}

/** Where events are kept beyond this process. Nothing here throws. */
export interface JournalStore {
  /** Keeps those of `entries` (all that wait, oldest first) that are not kept yet. */
  save(entries: readonly JournalEntry[]): void;
  /** An event no longer needs to be kept: it was taken, or given up. */
  release(entry: JournalEntry): void;
  /** Keeps nothing any more: everything was taken. */
  clear(): void;
  /** Lets go of the files and leaves them to whoever cleans up. */
  close(): void;
}

/** Enough for hours of a manager's absence on most hosts; an event has some 300 bytes. */
const BOUNDS: JournalBounds = { entriesMax: 8192, bytesMax: 4 * 1024 * 1024 };
/** What an entry costs besides the strings and bytes in it. */
const ENTRY_BYTES = 200;

const EMPTY_JOURNAL: JournalState = { entries: [], next: 1, dropped: 0 };

type Keeping =
  /** The manager takes events. */
  | "in memory"
  /** It does not: what waits is in the store too, unless it cannot be written. */
  | "in store"
  /** This process ends, and what is in the store is another's; what comes late is added to it. */
  | "left";

/** An ordered queue of events. */
export class Journal {
  readonly #bounds: JournalBounds;
  readonly #store: JournalStore | undefined;
  readonly #entries: JournalEntry[];
  #next: number;
  #dropped: number;
  #bytes = 0;
  #keeping: Keeping = "in memory";

  constructor(state: JournalState = EMPTY_JOURNAL, store?: JournalStore, bounds = BOUNDS) {
    this.#bounds = bounds;
    this.#store = store;
    this.#entries = [...state.entries];
    this.#next = state.next;
    this.#dropped = state.dropped;
    for (const entry of this.#entries) this.#bytes += sizeOf(entry);
    // The process that left them may have stored them too: those files are this process's from now on.
    if (this.head !== undefined) this.keep();
  }

  get head(): JournalEntry | undefined {
    return this.#entries[0];
  }

  get length(): number {
    return this.#entries.length;
  }

  /** Events that were given up because a bound was hit. */
  get dropped(): number {
    return this.#dropped;
  }

  get state(): JournalState {
    return { entries: [...this.#entries], next: this.#next, dropped: this.#dropped };
  }

  /** Appends an event, and gives up what there is no more room for. */
  append(bundle: string, envelope: Envelope): void {
    const entry = { number: this.#next++, bundle, envelope };
    this.#entries.push(entry);
    this.#bytes += sizeOf(entry);
    while (this.#isFull() && this.#entries.length > 2) {
      const [oldest] = this.#entries.splice(1, 1);
      if (oldest === undefined) break;
      this.#bytes -= sizeOf(oldest);
      this.#dropped++;
      if (this.#keeping === "in store") this.#store?.release(oldest);
    }
    if (this.#keeping !== "in memory") this.#store?.save(this.#entries);
    if (this.#keeping === "left") this.#store?.close();
  }

  /** Removes the head, which has been taken. */
  shift(): void {
    const head = this.#entries.shift();
    if (head === undefined) return;
    this.#bytes -= sizeOf(head);
    if (this.#keeping !== "in store") return;
    if (this.head !== undefined) this.#store?.release(head);
    else {
      this.#keeping = "in memory";
      this.#store?.clear();
    }
  }

  /** The manager does not take events: keeps all that wait, and tries again where that has failed. */
  keep(): void {
    if (this.#keeping === "left") return;
    this.#keeping = "in store";
    this.#store?.save(this.#entries);
  }

  /** Keeps what waits, and leaves it to whoever cleans up. */
  leave(): void {
    if (this.head !== undefined) this.keep();
    this.#keeping = "left";
    this.#store?.close();
  }

  #isFull(): boolean {
    const { entriesMax, bytesMax } = this.#bounds;
    return this.#entries.length > entriesMax || this.#bytes > bytesMax;
  }
}

function sizeOf({ bundle, envelope }: JournalEntry): number {
  return ENTRY_BYTES + bundle.length + (envelope.event?.value.length ?? 0);
}
