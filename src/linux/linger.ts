/**
 * Waiting awake for an event that is about to come.
 *
 * A sleep between two events that follow each other closely costs the sleeper and whoever wakes it
 * more than looking again: the more so on a virtual machine, whose idle processors are the host's until
 * an interrupt of some 20 to 50 microseconds has brought them back.
 */

import { waitTable } from "./libc.ts";

/** An event that comes so soon was worth waiting for: the longest wait, and the wake-up that it saves. */
const SOON_MS = 0.1;
const LONGEST_WAIT_MS = 0.05;

/** Whether, after one event, the next of its kind is worth waiting for: it is if this one came soon after the last. */
export class Linger {
  readonly #now: () => number;
  #servedAtMs = Number.NEGATIVE_INFINITY;
  #isWorthwhile = false;

  /** `now` is a clock of milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** To be told when an event has come, before it is served. */
  noteEvent(): void {
    this.#isWorthwhile = this.#now() - this.#servedAtMs < SOON_MS;
  }

  /** To be told when all that has come is served. Returns whether to {@link wait}. */
  noteServed(): boolean {
    this.#servedAtMs = this.#now();
    return this.#isWorthwhile;
  }

  /** Blocks until `isReady` tells of the next event, 50 microseconds at most. */
  wait(isReady: () => boolean): void {
    if (stayAwake(LONGEST_WAIT_MS, isReady)) return;
    // The next one has to come soon by itself before another is waited for.
    this.#isWorthwhile = false;
    this.#servedAtMs = Number.NEGATIVE_INFINITY;
  }
}

/**
 * Blocks for `ms`, or until `isDone` says so; returns what it said last. Between looks others may have the
 * processor (sched_yield(2)), one of whom may be about to do what is waited for.
 */
export function stayAwake(ms: number, isDone: () => boolean = () => false): boolean {
  const deadlineMs = performance.now() + ms;
  do {
    if (isDone()) return true;
    waitTable().sched_yield();
  } while (performance.now() < deadlineMs);
  return false;
}
