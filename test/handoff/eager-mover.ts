/**
 * A mover that does not wait to be asked: it tries to leave the program at every await point. Built into a
 * shim in place of the usual one, and part of no other.
 *
 * After each callback of the event loop it takes its place in the queue of microtasks again and again, so
 * that it looks between any two rounds of continuations, and once more when the loop has turned.
 */

import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../src/base/error.ts";
import { leave, type Passage } from "../../src/handoff/departure.ts";
import { Mover, type MoverOptions } from "../../src/handoff/mover.ts";
import { fillTable, openSleeper } from "../../src/handoff/sleeper.ts";
import { type Snapshot, takeSnapshot } from "../../src/handoff/snapshot.ts";
import { monotonicMs } from "../../src/linux/clock.ts";
import { Poller } from "../../src/linux/poller.ts";
import { commandLine, OWN_PROGRAM, openProgram } from "../../src/linux/program.ts";
import { type EagerPlan, PLAN_VARIABLE, type PointRecord, skipOf } from "./eager-plan.ts";

/** Rounds of continuations after a callback that are looked between. */
const ROUNDS = 40;
/** Exchanges in a row for which nobody else has called back: each goes on with what the last one left. */
const ALONE_MAX = 2;

/** As an upgrade looks for its instant. */
const HELD_LOOK_MS = 2;

/** What has called back: a descriptor that is waited for, a socket, or a timer or the loop itself. */
type Source = "descriptor" | "peer" | "loop";

let onTurn: (source: Source) => void = () => {};
const ownSetTimeout = globalThis.setTimeout;
const ownSetImmediate = globalThis.setImmediate;

type Callback = (...words: unknown[]) => unknown;

function followed(callback: Callback, source: Source): Callback {
  return (...words) => {
    try {
      return callback(...words);
    } finally {
      onTurn(source);
    }
  };
}

/** Every way by which the event loop calls wedge leads here from now on. */
function followEventLoop(): void {
  const watch = Poller.prototype.watch;
  Poller.prototype.watch = function (fd, interest, onReady) {
    return watch.call(this, fd, interest, followed(onReady as Callback, "descriptor"));
  };
  const timers = globalThis as unknown as Record<
    string,
    (run: Callback, ...rest: unknown[]) => unknown
  >;
  for (const name of ["setTimeout", "setInterval", "setImmediate"]) {
    const own = timers[name];
    if (own === undefined) continue;
    timers[name] = (run, ...rest) => own(followed(run, "loop"), ...rest);
  }
  const bun = Bun as unknown as Record<string, unknown>;
  bun["sleep"] = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
  for (const name of ["connect", "listen"]) {
    const own = bun[name] as (options: Record<string, unknown>) => unknown;
    bun[name] = (options: Record<string, unknown>) => {
      const socket = options["socket"] as Record<string, unknown>;
      return own({ ...options, socket: followedSocket(socket, name === "listen") });
    };
  }
}

/** The poller has a socket too, that nobody is at the other end of: it tells of no kind of bytes. */
function followedSocket(socket: Record<string, unknown>, isAccepted: boolean) {
  const isPeer = "binaryType" in socket;
  return Object.fromEntries(
    Object.entries(socket).map(([name, value]) => {
      if (typeof value !== "function") return [name, value];
      // A socket that is taken over is open and writable from the beginning.
      const isOurs = !isPeer || name === "drain" || (name === "open" && !isAccepted);
      return [name, followed(value as Callback, isOurs ? "loop" : "peer")];
    }),
  );
}

followEventLoop();

/** Leaves at the await point that its plan says. */
export class EagerMover extends Mover {
  readonly #options: MoverOptions;
  readonly #plan: EagerPlan;
  readonly #refused = new Map<string, number>();
  #roundsLeft = 0;
  #turns = 0;
  #looks = 0;
  /** Met so far, the first of them after something has happened. */
  #quietPoints = 0;
  #hasCome: "nobody" | "nothing else" | "peer" = "nobody";
  #isHeld = false;

  constructor(options: MoverOptions) {
    super(options);
    this.#options = options;
    const entry = options.env.find((each) => each.startsWith(`${PLAN_VARIABLE}=`)) ?? "";
    this.#plan = JSON.parse(entry.slice(PLAN_VARIABLE.length + 1));
  }

  override start(): void {
    super.start();
    onTurn = (source) => this.#turned(source);
  }

  #turned(source: Source): void {
    const { after } = this.#plan;
    if (this.#hasCome === "nobody" && after === "descriptor" && source !== after) return;
    if (source !== "loop") this.#hasCome = "peer";
    else if (this.#hasCome === "nobody" && this.#plan.alone < ALONE_MAX)
      this.#hasCome = "nothing else";
    if (this.#hasCome === "nobody") return;
    this.#turns++;
    const isUnderWay = this.#roundsLeft > 0;
    this.#roundsLeft = ROUNDS;
    if (!isUnderWay) queueMicrotask(() => this.#round());
  }

  #round(): void {
    this.#tryToLeave();
    this.#roundsLeft--;
    if (this.#roundsLeft > 0) queueMicrotask(() => this.#round());
    else ownSetImmediate(() => this.#lookAgain());
  }

  #lookAgain(): void {
    this.#tryToLeave();
    // What clients ask for is held back: nothing else may happen any more.
    if (this.#isHeld) ownSetTimeout(() => this.#turned("loop"), HELD_LOOK_MS);
  }

  /** The snapshot of this very instant, and what becomes of it. */
  #tryToLeave(): void {
    const { parts, quietMs } = this.#options;
    const { mode } = this.#plan;
    const nowMs = monotonicMs();
    this.#looks++;
    try {
      const snapshot = takeSnapshot(
        parts,
        mode === "sleep"
          ? { kind: "sleep", sinceMs: nowMs }
          : { kind: "upgrade", pausedAtMs: nowMs },
        { quietMs, refused: undefined },
      );
      const { obstacles, errands } = snapshot.inventory;
      const against = mode === "sleep" ? [...obstacles, ...errands] : obstacles;
      for (const each of against) {
        const kind = each
          .replace(/^\S+ is being/, "a process is being")
          .replaceAll(/\b\d+\b/g, "N");
        this.#refused.set(kind, (this.#refused.get(kind) ?? 0) + 1);
      }
      if (against.length > 0) this.#hold();
      else if (this.#quietPoints++ >= skipOf(this.#plan)) this.#leave(snapshot);
    } catch (error) {
      this.#record({ failure: messageOf(error) });
    }
  }

  /** As an upgrade does, that waits for the end of the calls at work. */
  #hold(): void {
    if (this.#plan.mode !== "held" || this.#isHeld) return;
    this.#isHeld = true;
    this.#options.parts.server.hold();
  }

  #leave({ inventory, document }: Snapshot): void {
    const { parts, env, flags, log, ownPath, ownWordCount } = this.#options;
    const state = document();
    const argv = [...commandLine().slice(0, ownWordCount), ...flags];
    const isAsleep = this.#plan.mode === "sleep";
    using program = isAsleep ? openSleeper() : openProgram(OWN_PROGRAM);
    if (program === undefined) throw new Error("There is no sleeper");
    this.#record({ turn: this.#turns, round: ROUNDS - this.#roundsLeft });
    const plan: EagerPlan = {
      ...this.#plan,
      exchanges: this.#plan.exchanges + 1,
      alone: this.#hasCome === "peer" ? 0 : this.#plan.alone + 1,
    };
    const others = env.filter((each) => !each.startsWith(`${PLAN_VARIABLE}=`));
    log.flush();
    leave({
      ...{ document: state, inventory, program, argv },
      env: [...others, `${PLAN_VARIABLE}=${JSON.stringify(plan)}`],
      ...(isAsleep && {
        addition: ({ image }: Passage, undo: DisposableStack) =>
          fillTable({ parts, document: state, inventory, image, ownPath, undo }),
        keepsDirectory: true,
      }),
    });
  }

  #record(found: Partial<PointRecord>): void {
    const { directory } = this.#plan;
    const step = readFileSync(join(directory, "step"), "utf8");
    const refused = Object.fromEntries(this.#refused);
    const record: PointRecord = { step, looks: this.#looks, refused, ...found };
    this.#refused.clear();
    this.#looks = 0;
    appendFileSync(join(directory, "points"), `${JSON.stringify(record)}\n`);
  }
}
