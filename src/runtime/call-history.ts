/** What the runtime was asked lately, as plain data for those who look into a shim. */

import type { Verb } from "./runtime.ts";

/** One run of the runtime's executable. Nothing of its arguments or environment: they may hold secrets. */
export interface RuntimeCall {
  readonly verb: Verb;
  /** The container; "" for verbs that are about none. */
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

/** A call that runs, to be ended once. */
export interface OpenCall {
  end(end: CallEnd): void;
}

/** Is told of every call, within the turn in which it happens. Must not throw. */
export interface HistoryObserver {
  began(call: RuntimeCall): void;
  ended(call: RuntimeCall): void;
}

const endedCallsMax = 32;
const errorCharactersMax = 512;

/** What a history reads the time from. */
export interface Clocks {
  /** Milliseconds since the epoch. */
  readonly dateMs: () => number;
  /** Milliseconds by a clock that nobody sets. */
  readonly elapsedMs: () => number;
}

/** The last {@link endedCallsMax} calls that ended, and all that run. */
export class CallHistory {
  /** Whoever wants to be told of calls; empty as a rule. */
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
        const ended = { ...open, durationMs, status, error: error.slice(0, errorCharactersMax) };
        for (const observer of this.observers) observer.ended(ended);
        this.#ended.push(ended);
        if (this.#ended.length > endedCallsMax) this.#ended.shift();
      },
    };
  }

  /** A copy: those that ended, in the order of their ends, then those that run, oldest first. */
  list(): readonly RuntimeCall[] {
    return [...this.#ended, ...this.#running];
  }
}
