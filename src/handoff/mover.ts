/**
 * When a shim leaves its program: for another one when asked, for itself when its memory has grown, for the
 * sleeper when there is nothing to do. How it does is in `exchange.ts`.
 */

import { heapSize } from "bun:jsc";
import { hasReason, messageOf, ShimError } from "../base/error.ts";
import { findEventLoop } from "../linux/event-loop.ts";
import { MemoryGauge, privateKilobytes } from "../linux/memory.ts";
import { openProgram } from "../linux/program.ts";
import { hasEnded } from "../service/lost.ts";
import { Activity } from "./activity.ts";
import { Ceiling, isMerelyBusy } from "./ceiling.ts";
import { Exchange, type ExchangeOptions } from "./exchange.ts";
import { Lookout } from "./lookout.ts";
import { isTrimDue, PATIENCE_FACTOR } from "./rhythm.ts";
import { hasSleeper } from "./sleeper.ts";

/** Share of the ceiling from which each look is a close one; there the ceiling is reported to be near. */
const CLOSE_LOOK_SHARE = 9 / 16;
/** For a renewal calls may be held up this long. */
const GROWN_HOLD_MS = 250;

/** What clients and the shim have begun to send is usually little. */
const IN_HAND_BYTES_MAX = 1024 * 1024;

export interface MoverOptions extends ExchangeOptions {
  /** Quiet before sleep; 0: never. */
  readonly sleepAfterMs: number;
  /** The private memory before which the shim renews itself; 0: none. */
  readonly ceilingKilobytes: number;
  /** Whether it has just done so. */
  readonly isRenewed: boolean;
}

/** Leaves the program, at most once at a time. */
export class Mover implements Disposable {
  readonly #options: MoverOptions;
  #quietMs: number;
  #isMoving = false;
  readonly #exchange: Exchange;
  readonly #activity: Activity;
  readonly #ceiling: Ceiling;
  readonly #lookout: Lookout;
  readonly #gauge: MemoryGauge;
  #lastFailure = "";

  constructor(options: MoverOptions) {
    this.#options = options;
    this.#exchange = new Exchange(options);
    this.#activity = new Activity(options.parts);
    this.#quietMs = options.quietMs ?? options.sleepAfterMs;
    this.#ceiling = new Ceiling(options.ceilingKilobytes, options.log);
    this.#gauge = new MemoryGauge(options.ceilingKilobytes * CLOSE_LOOK_SHARE);
    this.#lookout = new Lookout({
      activity: this.#activity,
      ceiling: this.#ceiling,
      sleepAfterMs: options.sleepAfterMs,
      quietMs: () => this.#quietMs,
      sleepsNext: () => this.#canSleep,
      look: () => this.#look(),
      onFailure: (reason) => this.#failed(reason),
      restsUntilMs: () => this.#restsUntilMs(),
      eventLoop: () => findEventLoop(options.parts.listener),
    });
  }

  /** Begins to look for quiet and for grown memory. */
  start(): void {
    if (this.#options.isRenewed && this.#ceiling.isSet) this.#beginBelow();
    this.#lookout.lookLater();
  }

  /** What the document was read with is garbage by now; no ceiling is raised for that. */
  #beginBelow(): void {
    try {
      if (!this.#ceiling.isExceededBy(privateKilobytes())) return;
      Bun.gc(true);
      this.#ceiling.begin(privateKilobytes());
    } catch (error) {
      // No descriptor to spare. The next renewal may be one too many, and the shim goes on.
      const { log } = this.#options;
      log.warn("Cannot look at the memory of a renewed shim", { error: messageOf(error) });
    }
  }

  [Symbol.dispose](): void {
    this.#exchange[Symbol.dispose]();
    this.#lookout[Symbol.dispose]();
  }

  /**
   * Continues as the program at `path`; "" is where the present one was started from. Returns only by
   * throwing: ShimError `failedPrecondition` for a program that fails its self test, `unavailable` when
   * calls do not finish, `aborted` while another move is in progress; SystemError. A program that passes
   * its self test and still cannot restore the shim gives it back to this program, whose next self
   * answers.
   */
  async upgrade(path: string): Promise<never> {
    const { ownPath } = this.#options;
    const target = path === "" ? ownPath : path;
    using program = openProgram(target);
    return await this.#alone(() => this.#exchange.upgradeTo(program, target));
  }

  async #alone<T>(move: () => Promise<T>): Promise<T> {
    if (this.#isMoving) throw new ShimError("aborted", "The shim is already switching programs");
    this.#isMoving = true;
    try {
      return await move();
    } finally {
      this.#isMoving = false;
    }
  }

  async #look(): Promise<void> {
    if (this.#isMoving) return;
    const wasActive = this.#activity.isActive;
    const isQuiet = this.#activity.look();
    const privateKb = this.#ceiling.isSet ? this.#gauge.read() : 0;
    const isTrimmed = this.#trim(privateKb, isQuiet, wasActive);
    await this.#alone(async () => {
      await this.#renewIfGrown(isTrimmed ? privateKilobytes() : privateKb);
      if (!this.#isSleepDue()) return;
      await this.#exchange.takeNewProgram();
      this.#exchange.sleep(this.#quietMs);
    });
  }

  /**
   * Whether there was garbage to collect: from a few large frames, from many small ones, from frames that
   * were never complete.
   */
  #trim(privateKb: number, isQuiet: boolean, wasActive: boolean): boolean {
    const isLarge =
      this.#ceiling.isNewlyReachedBy(privateKb) ||
      (isQuiet && wasActive && this.#ceiling.isExceededBy(privateKb));
    if (!isLarge && !isTrimDue(this.#activity.sinceTrim)) return false;
    this.#activity.noteTrim();
    Bun.gc(true);
    return true;
  }

  /** A failure may last: no memory, no descriptor, a system that lets nobody execute programs in memory. */
  #failed(reason: string): void {
    const { log, sleepAfterMs } = this.#options;
    if (reason !== this.#lastFailure) log.warn("Cannot leave the program", { error: reason });
    this.#lastFailure = reason;
    this.#activity.putOffQuiet();
    this.#quietMs = Math.min(this.#quietMs * 2, sleepAfterMs * PATIENCE_FACTOR);
  }

  /** At an instant that is quiet by itself, or, when there has been none for long, at one that is forced. */
  async #renewIfGrown(privateKb: number): Promise<void> {
    const isBusy = this.#options.isRenewed && isMerelyBusy(heapSize(), performance.now());
    const due = this.#ceiling.look(privateKb, isBusy);
    if (due === "nothing") return;
    if (this.#options.parts.server.bytesInHand > IN_HAND_BYTES_MAX) {
      // Another program would have them as well, and on the way there they take several times as much.
      this.#ceiling.putOff();
      return;
    }
    if (due === "renew if quiet") {
      this.#exchange.renewIfQuiet();
      return;
    }
    try {
      await this.#exchange.renew(GROWN_HOLD_MS);
    } catch (error) {
      if (!hasReason(error, "unavailable")) throw error;
      this.#ceiling.rest();
    }
  }

  get #canSleep(): boolean {
    const { sleepAfterMs, parts } = this.#options;
    return sleepAfterMs > 0 && hasSleeper() && parts.service.size > 0;
  }

  #isSleepDue(): boolean {
    return this.#canSleep && performance.now() - this.#activity.quietSinceMs >= this.#quietMs;
  }

  /** A shim whose container has ended looks for whether somebody else has cleaned that up. */
  #restsUntilMs(): number | undefined {
    const { service } = this.#options.parts;
    const isWatchful = service.size === 0 || hasEnded(service.containers);
    return this.#isMoving || isWatchful ? undefined : this.#exchange.restsUntilMs();
  }
}
