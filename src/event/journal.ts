/**
 * The events that a manager has not taken yet, in order and numbered: plain values in memory.
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

/** Enough for hours of a manager's absence on most hosts; an event has some 300 bytes. */
const BOUNDS: JournalBounds = { entriesMax: 8192, bytesMax: 4 * 1024 * 1024 };
/** What an entry costs besides the strings and bytes in it. */
const ENTRY_BYTES = 200;

export const EMPTY_JOURNAL: JournalState = { entries: [], next: 1, dropped: 0 };

/** An ordered queue of events. */
export class Journal {
  readonly #bounds: JournalBounds;
  readonly #entries: JournalEntry[];
  #next: number;
  #dropped: number;
  #bytes = 0;

  constructor(state: JournalState = EMPTY_JOURNAL, bounds: JournalBounds = BOUNDS) {
    this.#bounds = bounds;
    this.#entries = [...state.entries];
    this.#next = state.next;
    this.#dropped = state.dropped;
    for (const entry of this.#entries) this.#bytes += sizeOf(entry);
  }

  /** Oldest first. */
  get entries(): readonly JournalEntry[] {
    return this.#entries;
  }

  get head(): JournalEntry | undefined {
    return this.#entries[0];
  }

  /** Events that were given up because a bound was hit. */
  get dropped(): number {
    return this.#dropped;
  }

  get state(): JournalState {
    return { entries: [...this.#entries], next: this.#next, dropped: this.#dropped };
  }

  /** Appends an event; returns what had to be given up for it, oldest first. */
  append(bundle: string, envelope: Envelope): readonly JournalEntry[] {
    const entry = { number: this.#next++, bundle, envelope };
    this.#entries.push(entry);
    this.#bytes += sizeOf(entry);
    const lost: JournalEntry[] = [];
    while (this.#isFull() && this.#entries.length > 2) {
      const [oldest] = this.#entries.splice(1, 1);
      if (oldest === undefined) break;
      this.#bytes -= sizeOf(oldest);
      this.#dropped++;
      lost.push(oldest);
    }
    return lost;
  }

  /** Removes the head, which has been taken. */
  shift(): void {
    const head = this.#entries.shift();
    if (head !== undefined) this.#bytes -= sizeOf(head);
  }

  #isFull(): boolean {
    const { entriesMax, bytesMax } = this.#bounds;
    return this.#entries.length > entriesMax || this.#bytes > bytesMax;
  }
}

function sizeOf({ bundle, envelope }: JournalEntry): number {
  return ENTRY_BYTES + bundle.length + (envelope.event?.value.length ?? 0);
}
