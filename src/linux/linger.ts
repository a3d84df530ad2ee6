/**
 * Staying awake for an event that is about to come.
 *
 * A sleep between two events that follow each other closely costs the sleeper and its waker more than
 * looking again: even more so on a virtual machine, whose idle processors belong to the host until an
 * interrupt of some 20 to 50 microseconds has brought them back.
 */

import { readFileSync } from "node:fs";
import { waitTable } from "./libc.ts";

/** An event that comes this soon is worth waiting for: the longest wait, and the wake-up that it saves. */
const SOON_MS = 0.1;
const LONGEST_WAIT_MS = 0.05;
/**
 * A process that gets the processor back this late shares it with others that have work to do, and sleeps
 * between events for a while: twice as long each time that it happens again.
 */
const CROWDED_MS = 0.5;
const FIRST_REST_MS = 1;
const LONGEST_REST_MS = 64;
/** How often to check whether there is work for all processors without us. */
const LOOK_MS = 1;

/** What a wait needs from outside. */
export interface LingerOptions {
  /** A clock of milliseconds. */
  readonly now?: () => number;
  /** Yields the processor to others. */
  readonly yieldProcessor?: () => void;
  /** Whether more threads want to run than there are processors. */
  readonly isCrowded?: () => boolean;
}

/**
 * Decides after each event whether to stay awake for the next: it does if the event came soon after the one
 * before, whatever they were, and nobody else needs the processor.
 */
export class Linger {
  readonly #now: () => number;
  readonly #yield: () => void;
  readonly #isCrowded: () => boolean;
  /** Each tells whether an event of its kind has come. */
  readonly #looks = new Set<() => boolean>();
  #servedAtMs = Number.NEGATIVE_INFINITY;
  #restUntilMs = Number.NEGATIVE_INFINITY;
  #restMs = FIRST_REST_MS;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #isWorthwhile = false;
  #isAboutToWait = false;

  constructor(options: LingerOptions = {}) {
    this.#now = options.now ?? (() => performance.now());
    this.#yield = options.yieldProcessor ?? (() => waitTable().sched_yield());
    this.#isCrowded = options.isCrowded ?? isMachineCrowded;
  }

  /** From now on `hasEvent` is asked too, until disposal. It must not throw, wait, or change anything. */
  watch(hasEvent: () => boolean): Disposable {
    this.#looks.add(hasEvent);
    return { [Symbol.dispose]: () => void this.#looks.delete(hasEvent) };
  }

  /** To be called when an event has come, before it is served. */
  noteEvent(): void {
    const nowMs = this.#now();
    this.#isWorthwhile = nowMs - this.#servedAtMs < SOON_MS && nowMs >= this.#restUntilMs;
  }

  /** To be called when it has been served. */
  noteServed(): void {
    this.#servedAtMs = this.#now();
  }

  /**
   * Where it is worthwhile, makes the next turn of the event loop begin with a wait for the next event, of
   * some 50 microseconds at most; promises settled in this turn come first. Returns whether it does.
   */
  stayAwake(): boolean {
    if (!this.#isWorthwhile) return false;
    this.#isWorthwhile = false;
    if (this.#isAboutToWait) return true;
    if (this.#mustRest()) return false;
    this.#isAboutToWait = true;
    setImmediate(() => {
      this.#isAboutToWait = false;
      // The next event has to come soon by itself before another is waited for.
      if (!this.#wait(LONGEST_WAIT_MS)) this.#servedAtMs = Number.NEGATIVE_INFINITY;
    });
    return true;
  }

  /**
   * Yielding to others that do not wait for us would cost us the rest of our turn (sched_yield(2)), just when
   * the next event comes.
   */
  #mustRest(): boolean {
    const nowMs = this.#now();
    if (nowMs - this.#lookedAtMs < LOOK_MS) return false;
    if (this.#isCrowded()) this.#restUntilMs = nowMs + LOOK_MS;
    else this.#lookedAtMs = nowMs;
    return nowMs < this.#restUntilMs;
  }

  /** Lets `ms` pass, awake, for something that cannot be watched; not where others need the processor. */
  pass(ms: number): void {
    if (this.#now() >= this.#restUntilMs) this.#spend(ms, () => false);
  }

  #wait(ms: number): boolean {
    return this.#spend(ms, () => {
      for (const hasEvent of this.#looks) if (hasEvent()) return true;
      return false;
    });
  }

  /** Looks until `isOver`; false if `ms` have passed before that, or others need the processor. */
  #spend(ms: number, isOver: () => boolean): boolean {
    let nowMs = this.#now();
    const deadlineMs = nowMs + ms;
    let isDone = isOver();
    while (!isDone && nowMs < deadlineMs) {
      const givenAtMs = nowMs;
      // Perhaps to somebody who is about to do what we wait for.
      this.#yield();
      nowMs = this.#now();
      if (nowMs - givenAtMs > CROWDED_MS) {
        this.#restUntilMs = nowMs + this.#restMs;
        this.#restMs = Math.min(this.#restMs * 2, LONGEST_REST_MS);
        return isOver();
      }
      isDone = isOver();
    }
    this.#restMs = FIRST_REST_MS;
    return isDone;
  }
}

/** By the number of threads that the kernel counts as runnable now, this one included (proc(5), loadavg). */
function isMachineCrowded(): boolean {
  try {
    const [, , , runnable] = readFileSync("/proc/loadavg", "latin1").split(" ");
    return Number.parseInt(runnable ?? "", 10) > navigator.hardwareConcurrency;
  } catch {
    return true; // no descriptor is left
  }
}

/** This process's only one, as it has one event loop. */
export const linger = new Linger();
