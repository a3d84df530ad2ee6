/**
 * Exchanges the program of a running shim: for another one when asked, for itself when its memory has
 * grown, for the sleeper when there is nothing to do.
 *
 * A program is left only at a quiet instant: no call is in flight except those that can be resumed, no
 * runtime process runs, no event is on its way. To reach one, an upgrade stops taking calls for as long
 * as those in flight need; what clients send meanwhile waits in the kernel.
 */

import { heapSize } from "bun:jsc";
import { hasReason, messageOf, ShimError } from "../base/error.ts";
import { Inventory } from "../base/inventory.ts";
import type { Logger } from "../base/log.ts";
import { monotonicMs } from "../linux/clock.ts";
import { findEventLoop } from "../linux/event-loop.ts";
import type { OwnedFd } from "../linux/fd.ts";
import { MemoryGauge, privateKilobytes } from "../linux/memory.ts";
import {
  isSameProgram,
  OWN_PROGRAM,
  openProgram,
  type ProgramIdentity,
  programIdentity,
} from "../linux/program.ts";
import { hasEnded } from "../service/lost.ts";
import { Activity } from "./activity.ts";
import type { Cause } from "./cause.ts";
import { Ceiling, isMerelyBusy } from "./ceiling.ts";
import { type Addition, leave } from "./departure.ts";
import { encodeDocument } from "./document.ts";
import { type Estate, type OwnState, type Snapshot, takeSnapshot } from "./estate.ts";
import { Guardian } from "./guardian.ts";
import { Lookout } from "./lookout.ts";
import { isPassing, rehearse } from "./rehearsal.ts";
import { isTrimDue, PATIENCE_FACTOR } from "./rhythm.ts";
import { fillTable, hasSleeper, openSleeper } from "./sleeper.ts";
import { type Invoked, ownWords, wordsFor } from "./words.ts";

/** How long calls in flight may take to finish before an upgrade is given up. */
const QUIET_LIMIT_MS = 10_000;
const LOOK_MS = 2;
/** Share of the ceiling from which each look is a close one; there the ceiling is reported to be near. */
const CLOSE_LOOK_SHARE = 9 / 16;
/** For a renewal calls may be held up this long. */
const GROWN_HOLD_MS = 250;

/** What clients and the shim have begun to send is usually little. */
const IN_HAND_BYTES_MAX = 1024 * 1024;

export interface MoverOptions extends Invoked {
  readonly estate: Estate;
  readonly log: Logger & { flush(): void };
  /** For the next program, `NAME=value`. */
  readonly env: readonly string[];
  /** Quiet before sleep; 0: never. */
  readonly sleepAfterMs: number;
  /** As the previous program left it: see `rhythm.ts`. */
  readonly quietMs: number | undefined;
  /** The private memory before which the shim renews itself; 0: none. */
  readonly ceilingKilobytes: number;
  /** Whether it has just done so. */
  readonly isRenewed: boolean;
  /** A program on disk that was refused: not tried again. */
  readonly refused: ProgramIdentity | undefined;
}

/** Leaves the program, at most once at a time. */
export class Mover implements Disposable {
  readonly #options: MoverOptions;
  #quietMs: number;
  #isMoving = false;
  #isDisposed = false;
  readonly #activity: Activity;
  readonly #ceiling: Ceiling;
  readonly #lookout: Lookout;
  readonly #gauge: MemoryGauge;
  #refused: ProgramIdentity | undefined;
  #lastFailure = "";

  constructor(options: MoverOptions) {
    this.#options = options;
    this.#activity = new Activity(options.estate);
    this.#quietMs = options.quietMs ?? options.sleepAfterMs;
    this.#ceiling = new Ceiling(options.ceilingKilobytes, options.log);
    this.#gauge = new MemoryGauge(options.ceilingKilobytes * CLOSE_LOOK_SHARE);
    this.#refused = options.refused;
    this.#lookout = new Lookout({
      activity: this.#activity,
      ceiling: this.#ceiling,
      sleepAfterMs: options.sleepAfterMs,
      quietMs: () => this.#quietMs,
      sleepsNext: () => this.#canSleep,
      look: () => this.#look(),
      onFailure: (reason) => this.#failed(reason),
      restsUntilMs: () => this.#restsUntilMs(),
      eventLoop: () => findEventLoop(options.estate.listener),
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
    this.#isDisposed = true;
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
    return await this.#alone(() => this.#upgradeTo(program, target));
  }

  async #upgradeTo(program: OwnedFd, path: string): Promise<never> {
    const { estate, env, log } = this.#options;
    const words = wordsFor(path, this.#options);
    const document = await this.#atQuiet<Uint8Array>((pausedAtMs) => {
      const { document: trial, inventory } = this.#snapshot({ kind: "upgrade", pausedAtMs });
      return inventory.obstacles.length > 0 ? inventory : encodeDocument(trial());
    });
    const { children } = estate;
    await rehearse({ children, program, path, argv: words, env, document });
    using guardian = await Guardian.summon(log);
    const addition = guardian?.entrust(ownWords(this.#options));
    const refused = programIdentity(program.fd);
    return await this.#atQuiet<never>((pausedAtMs) => {
      // Read if this program takes the shim back: it must not come to the same again.
      const snapshot = this.#snapshot({ kind: "upgrade", pausedAtMs }, { refused });
      if (snapshot.inventory.obstacles.length > 0) return snapshot.inventory;
      return this.#leave(program, [...words, ...this.#options.flags], snapshot, addition);
    });
  }

  #leave(
    program: OwnedFd,
    argv: readonly string[],
    { inventory, document }: Snapshot,
    addition?: Addition,
  ): never {
    const { env, log } = this.#options;
    // Another program would not know of that.
    if (this.#isDisposed) throw new ShimError("aborted", "The shim is about to end");
    log.flush();
    return leave({
      ...{ document: document(), inventory, program, argv, env },
      ...(addition && { addition }),
    });
  }

  #snapshot(cause: Cause, own: Partial<OwnState> = {}): Snapshot {
    const { estate, quietMs } = this.#options;
    return takeSnapshot(estate, cause, { quietMs, refused: this.#refused, ...own });
  }

  /**
   * Calls `attempt` at instants at which no call can come in, until it returns something other than an
   * inventory with obstacles.
   */
  async #atQuiet<T>(
    attempt: (pausedAtMs: number) => T | Inventory,
    limitMs = QUIET_LIMIT_MS,
  ): Promise<T> {
    const { server } = this.#options.estate;
    const startedAtMs = performance.now();
    const pausedAtMs = monotonicMs();
    server.hold();
    try {
      for (;;) {
        // A turn of its own: everything promised meanwhile has been followed by then.
        await Bun.sleep(LOOK_MS);
        const outcome = attempt(pausedAtMs);
        if (!(outcome instanceof Inventory)) return outcome;
        if (performance.now() - startedAtMs < limitMs) continue;
        const [first = ""] = outcome.obstacles;
        throw new ShimError(
          "unavailable",
          `Cannot switch programs now: ${first}, for ${limitMs} ms`,
        );
      }
    } finally {
      server.release();
    }
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
      await this.#takeNewProgram();
      this.#sleep();
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

  /**
   * Upgrades to a new file at the program's path, unless that has failed before. Only a shim that has
   * nothing else to do looks for one, so a host's shims follow one by one.
   */
  async #takeNewProgram(): Promise<void> {
    const { ownPath, log } = this.#options;
    let found: OwnedFd;
    try {
      found = openProgram(ownPath);
    } catch {
      return; // Removed, or being replaced: the running program is still there.
    }
    using program = found;
    const identity = programIdentity(program.fd);
    using own = openProgram(OWN_PROGRAM);
    if (isSameProgram(identity, programIdentity(own.fd))) return;
    if (this.#refused !== undefined && isSameProgram(identity, this.#refused)) return;
    // Nobody is held up for it: what is in flight finishes first.
    const { inventory } = this.#snapshot({ kind: "upgrade", pausedAtMs: monotonicMs() });
    if (inventory.obstacles.length > 0) return;
    try {
      await this.#upgradeTo(program, ownPath);
    } catch (error) {
      if (isPassing(error)) throw error;
      log.warn("The new program on disk is not used", { path: ownPath, error: messageOf(error) });
      this.#refused = identity;
    }
  }

  /** At an instant that is quiet by itself, or, when there has been none for long, at one that is forced. */
  async #renewIfGrown(privateKb: number): Promise<void> {
    const isBusy = this.#options.isRenewed && isMerelyBusy(heapSize(), performance.now());
    const due = this.#ceiling.look(privateKb, isBusy);
    if (due === "nothing") return;
    if (this.#options.estate.server.bytesInHand > IN_HAND_BYTES_MAX) {
      // Another program would have them as well, and on the way there they take several times as much.
      this.#ceiling.putOff();
      return;
    }
    if (due === "renew if quiet") {
      this.#tryRenewal(monotonicMs());
      return;
    }
    try {
      await this.#atQuiet<never>((pausedAtMs) => this.#tryRenewal(pausedAtMs), GROWN_HOLD_MS);
    } catch (error) {
      if (!hasReason(error, "unavailable")) throw error;
      this.#ceiling.rest();
    }
  }

  /** The inventory, when there are obstacles. */
  #tryRenewal(pausedAtMs: number): Inventory {
    const cause = { kind: "renewal", pausedAtMs, privateKilobytes: privateKilobytes() } as const;
    const snapshot = this.#snapshot(cause);
    if (snapshot.inventory.obstacles.length > 0) return snapshot.inventory;
    if (hasSleeper()) this.#tryNap(cause);
    using own = openProgram(OWN_PROGRAM);
    return this.#leave(own, ownWords(this.#options), snapshot);
  }

  /** A sleep of zero length: the sleeper knows whether the program can be started again, and waits until it can. */
  #tryNap(cause: Cause): void {
    const snapshot = this.#snapshot(cause);
    snapshot.inventory.addDeadline(performance.now());
    try {
      this.#leaveAsleep(snapshot);
    } catch (error) {
      this.#options.log.debug("Cannot run the sleeper", { error: messageOf(error) });
    }
  }

  get #canSleep(): boolean {
    const { sleepAfterMs, estate } = this.#options;
    return sleepAfterMs > 0 && hasSleeper() && estate.service.size > 0;
  }

  #isSleepDue(): boolean {
    return this.#canSleep && performance.now() - this.#activity.quietSinceMs >= this.#quietMs;
  }

  /** For the lookout. A shim whose container has ended looks for whether somebody else has cleaned that up. */
  #restsUntilMs(): number | undefined {
    const { service } = this.#options.estate;
    if (this.#isMoving || service.size === 0 || hasEnded(service.containers)) return undefined;
    const { inventory } = this.#snapshot({ kind: "sleep", sinceMs: monotonicMs() });
    if (inventory.obstacles.length + inventory.errands.length > 0) return undefined;
    return inventory.deadlineMs ?? Number.POSITIVE_INFINITY;
  }

  #sleep(): void {
    const snapshot = this.#snapshot(
      { kind: "sleep", sinceMs: monotonicMs() },
      { quietMs: this.#quietMs },
    );
    const { obstacles, errands } = snapshot.inventory;
    if (obstacles.length + errands.length === 0) this.#leaveAsleep(snapshot);
  }

  /** Returns where there is no sleeper. Throws SystemError. */
  #leaveAsleep(snapshot: Snapshot): void {
    const { estate, env, log, ownPath } = this.#options;
    const { inventory } = snapshot;
    const document = snapshot.document();
    using program = openSleeper();
    if (program === undefined) return;
    log.flush();
    leave({
      ...{ document, inventory, program, env },
      argv: ownWords(this.#options),
      addition: ({ image }, undo) =>
        fillTable({ estate, document, inventory, image, ownPath, undo }),
      keepsDirectory: true,
    });
  }
}
