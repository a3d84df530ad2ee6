/** The latest runtime calls, as plain data for those who inspect a shim. */

import type { Verb } from "./runtime.ts";

/** One run of the runtime's executable, without its arguments and environment: they may hold secrets. */
export interface RuntimeCall {
  readonly verb: Verb;
  /** The container; "" for verbs that concern none. */
  readonly id: string;
  readonly pid: number;
  /** Milliseconds since the epoch. */
  readonly startedAtMs: number;
  /** Undefined while it runs. */
  readonly durationMs: number | undefined;
  /** Exit status, 0-255; undefined while it runs, or when it was given up. */
  readonly status: number | undefined;
  /** The beginning of its error, "" when there is none. */
  readonly error: string;
}

/** How a call ended. */
export interface CallEnd {
  readonly status: number | undefined;
  readonly error: string;
}

/** A call in flight, to be ended once. */
export interface OpenCall {
  end(end: CallEnd): void;
}

/** Notified of every call, within the turn in which it happens. Must not throw. */
export interface HistoryObserver {
  began(call: RuntimeCall): void;
  ended(call: RuntimeCall): void;
}

const ENDED_CALLS_MAX = 32;
const ERROR_CHARACTERS_MAX = 512;

/** Where a history reads the time. */
export interface Clocks {
  /** Milliseconds since the epoch. */
  readonly dateMs: () => number;
  /** Milliseconds by a clock that nobody sets. */
  readonly elapsedMs: () => number;
}

/** The last {@link ENDED_CALLS_MAX} calls that ended, and all in flight. */
export class CallHistory {
  /** Observers of calls; usually none. */
  readonly observers: Set<HistoryObserver> = new Set();
  readonly #ended: RuntimeCall[] = [];
  readonly #running = new Set<RuntimeCall>();
  readonly #clocks: Clocks;

  constructor(clocks: Clocks = { dateMs: Date.now, elapsedMs: () => performance.now() }) {
    this.#clocks = clocks;
  }

  begin(verb: Verb, id: string, pid: number): OpenCall {
    const { dateMs, elapsedMs } = this.#clocks;
    const startedAtMs = dateMs();
    const sinceMs = elapsedMs();
    const open = {
      verb,
      id,
      pid,
      startedAtMs,
      durationMs: undefined,
      status: undefined,
      error: "",
    };
    this.#running.add(open);
    for (const observer of this.observers) observer.began(open);
    return {
      end: ({ status, error }) => {
        if (!this.#running.delete(open)) return;
        const durationMs = elapsedMs() - sinceMs;
        const ended = { ...open, durationMs, status, error: error.slice(0, ERROR_CHARACTERS_MAX) };
        for (const observer of this.observers) observer.ended(ended);
        this.#ended.push(ended);
        if (this.#ended.length > ENDED_CALLS_MAX) this.#ended.shift();
      },
    };
  }

  /** A copy: ended calls in the order of their ends, then those in flight, oldest first. */
  list(): readonly RuntimeCall[] {
    return [...this.#ended, ...this.#running];
  }
}
