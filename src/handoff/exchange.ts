/**
 * How a shim leaves its program: for another one, for itself afresh, for the sleeper.
 *
 * A program is left only at a quiet instant: no call is in flight except those that can be resumed, no
 * runtime process runs, no event is on its way. To reach one, an upgrade stops taking calls for as long
 * as those in flight need; what clients send meanwhile waits in the kernel.
 */

import { messageOf, ShimError } from "../base/error.ts";
import { Inventory } from "../base/inventory.ts";
import type { Logger } from "../base/log.ts";
import { monotonicMs } from "../linux/clock.ts";
import type { OwnedFd } from "../linux/fd.ts";
import { privateKilobytes } from "../linux/memory.ts";
import {
  isSameProgram,
  OWN_PROGRAM,
  openProgram,
  type ProgramIdentity,
  programIdentity,
} from "../linux/program.ts";
import type { Cause } from "./cause.ts";
import { type Addition, leave } from "./departure.ts";
import { encodeDocument } from "./document.ts";
import { Guardian } from "./guardian.ts";
import { isPassing, rehearse } from "./rehearsal.ts";
import { fillTable, hasSleeper, openSleeper } from "./sleeper.ts";
import { type OwnState, type ShimParts, type Snapshot, takeSnapshot } from "./snapshot.ts";
import { type Invoked, ownWords, wordsFor } from "./words.ts";

/** How long calls in flight may take to finish before an upgrade is given up. */
const QUIET_LIMIT_MS = 10_000;
const LOOK_MS = 2;

export interface ExchangeOptions extends Invoked {
  readonly parts: ShimParts;
  readonly log: Logger & { flush(): void };
  /** For the next program, `NAME=value`. */
  readonly env: readonly string[];
  /** The quiet before sleep, as the previous program left it: see `rhythm.ts`. */
  readonly quietMs: number | undefined;
  /** A program on disk that was refused: not tried again. */
  readonly refused: ProgramIdentity | undefined;
}

/** The ways out of a program. Each returns only where it was not left. */
export class Exchange implements Disposable {
  readonly #options: ExchangeOptions;
  #refused: ProgramIdentity | undefined;
  #isDisposed = false;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.#refused = options.refused;
  }

  /** From now on the program is not left any more. */
  [Symbol.dispose](): void {
    this.#isDisposed = true;
  }

  /** As `Mover.upgrade`; `path` is where `program`, which is lent, was opened. */
  async upgradeTo(program: OwnedFd, path: string): Promise<never> {
    const { parts, env, log } = this.#options;
    const words = wordsFor(path, this.#options);
    const document = await this.#atQuiet<Uint8Array>((pausedAtMs) => {
      const { document: trial, inventory } = this.#snapshot({ kind: "upgrade", pausedAtMs });
      return inventory.obstacles.length > 0 ? inventory : encodeDocument(trial());
    });
    const { children } = parts;
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

  /**
   * Upgrades to a new file at the program's path, unless that has failed before. Only a shim that has
   * nothing else to do looks for one, so a host's shims follow one by one.
   */
  async takeNewProgram(): Promise<void> {
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
      await this.upgradeTo(program, ownPath);
    } catch (error) {
      if (isPassing(error)) throw error;
      log.warn("The new program on disk is not used", { path: ownPath, error: messageOf(error) });
      this.#refused = identity;
    }
  }

  /** {@link renew} now, if it is quiet by itself. */
  renewIfQuiet(): void {
    this.#renew(monotonicMs());
  }

  /**
   * Executes this program afresh, at an instant for which calls are held up, `limitMs` at most. Throws ShimError
   * `unavailable` when they do not finish, `aborted` when the shim is about to end; SystemError.
   */
  async renew(limitMs: number): Promise<never> {
    return await this.#atQuiet<never>((pausedAtMs) => this.#renew(pausedAtMs), limitMs);
  }

  /** Becomes the sleeper after `quietMs` of quiet, if there is one and nothing is in flight. Throws SystemError. */
  sleep(quietMs: number): void {
    const snapshot = this.#snapshot({ kind: "sleep", sinceMs: monotonicMs() }, { quietMs });
    const { obstacles, errands } = snapshot.inventory;
    if (obstacles.length + errands.length === 0) this.#leaveAsleep(snapshot);
  }

  /** Until when nothing is due, by `performance.now()`; undefined while something is in flight. */
  restsUntilMs(): number | undefined {
    const { inventory } = this.#snapshot({ kind: "sleep", sinceMs: monotonicMs() });
    if (inventory.obstacles.length + inventory.errands.length > 0) return undefined;
    return inventory.deadlineMs ?? Number.POSITIVE_INFINITY;
  }

  /** The inventory, when there are obstacles. */
  #renew(pausedAtMs: number): Inventory {
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

  /** Returns where there is no sleeper, or a sleeper would not know that the shim is about to end. */
  #leaveAsleep(snapshot: Snapshot): void {
    if (this.#isDisposed) return;
    const { parts, env, log, ownPath } = this.#options;
    const { inventory } = snapshot;
    const document = snapshot.document();
    using program = openSleeper();
    if (program === undefined) return;
    log.flush();
    leave({
      ...{ document, inventory, program, env },
      argv: ownWords(this.#options),
      addition: ({ image }, undo) =>
        fillTable({ parts, document, inventory, image, ownPath, undo }),
      keepsDirectory: true,
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
    const { parts, quietMs } = this.#options;
    return takeSnapshot(parts, cause, { quietMs, refused: this.#refused, ...own });
  }

  /**
   * Calls `attempt` at instants at which no call can come in, until it returns something other than an
   * inventory with obstacles.
   */
  async #atQuiet<T>(
    attempt: (pausedAtMs: number) => T | Inventory,
    limitMs = QUIET_LIMIT_MS,
  ): Promise<T> {
    const { server } = this.#options.parts;
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
}
