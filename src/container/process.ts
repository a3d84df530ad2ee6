/**
 * What init and exec processes share: identity, stdio, the wait for their end.
 *
 * It holds no lifecycle state; `init-process.ts` and `exec-process.ts` do.
 */

import { assert } from "../base/assert.ts";
import { messageOf } from "../base/error.ts";
import type { Inventory } from "../base/inventory.ts";
import { Lock } from "../base/lock.ts";
import type { Logger } from "../base/log.ts";
import { flag, maybe, record, type Shaped, whole } from "../base/shape.ts";
import { childState } from "../linux/child.ts";
import type { Child } from "../linux/children.ts";
import { type ProcessStdio, restoreStdio, stdioState } from "../stdio/opened-stdio.ts";
import type { ProcessContext } from "./context.ts";
import { neverStarted, type Termination } from "./lifecycle.ts";
import { untilRead } from "./process-stdio.ts";
import type { StdioPaths } from "./stdio-paths.ts";

/** What every process has, apart from its lifecycle. */
export const processState = record({
  child: maybe(childState),
  stdio: maybe(stdioState),
  wantsStdinClosed: flag,
  isStartAborted: flag,
  /** Missing in format 1 of the handoff, where an end was reported as soon as it was recorded. */
  isEndTold: maybe(flag),
  wantedSize: maybe(record({ columns: whole, rows: whole })),
});
export type ProcessState = Shaped<typeof processState>;

/** A process of a container, from the request that names it to its deletion. */
export abstract class TaskProcess {
  /** The container's id for init, the exec id otherwise. */
  readonly id: string;
  readonly paths: StdioPaths;
  /** Held over each sequence that changes this process; never while answering from memory. */
  readonly lock = new Lock();
  readonly #waiters = new Set<PromiseWithResolvers<Termination>>();
  #child: Child | undefined;
  #stdio: ProcessStdio | undefined;
  /** Requested before there were streams; done as soon as there are. */
  #wantsStdinClosed = false;
  #wantedSize: { readonly columns: number; readonly rows: number } | undefined;
  /** Set while a Start is in flight. */
  #starting: PromiseWithResolvers<void> | undefined;
  #startAbort: AbortController | undefined;
  #isEndTold = false;
  readonly #hurried = Promise.withResolvers<void>();

  constructor(id: string, paths: StdioPaths) {
    this.id = id;
    this.paths = paths;
  }

  /** 0 until the process exists; then kept, even when it is dead or deleted. */
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** The kernel's view of it; undefined until the process exists. */
  get child(): Child | undefined {
    return this.#child;
  }

  /** How many wait for its end. */
  get waiters(): number {
    return this.#waiters.size;
  }

  get stdio(): ProcessStdio | undefined {
    return this.#stdio;
  }

  /** Whether those who waited for its end have been told. */
  get isEndTold(): boolean {
    return this.#isEndTold;
  }

  /**
   * Resolves when its end is reported, at once if it has been. Rejects with `signal`'s reason when
   * the caller goes away: nothing of an abandoned wait stays behind.
   */
  async wait(signal?: AbortSignal): Promise<Termination> {
    const { termination } = this;
    if (termination !== undefined && this.#isEndTold) return termination;
    signal?.throwIfAborted();
    const waiter = Promise.withResolvers<Termination>();
    const onAbort = () => waiter.reject(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#waiters.add(waiter);
    try {
      return await waiter.promise;
    } finally {
      this.#waiters.delete(waiter);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** The status that State answers. */
  abstract get status(): "created" | "running" | "pausing" | "paused" | "stopped";

  abstract get termination(): Termination | undefined;

  /**
   * Resolves when no Start is in flight any more: its event is published, or it has failed. The exit
   * of a process is reported only after this, so that TaskExit never overtakes TaskStart.
   */
  async startSettled(): Promise<void> {
    await this.#starting?.promise;
  }

  /** Runs `then` at once, or as soon as the Start in flight has settled: nothing overtakes TaskStart. */
  afterStart(then: () => void): void {
    if (this.#starting === undefined) then();
    else void this.#starting.promise.then(then);
  }

  /** Adopts the process. Once. */
  protected setChild(child: Child): void {
    assert(this.#child === undefined, "a process is found once");
    this.#child = child;
  }

  /**
   * Takes the streams as soon as they are open, before the runtime runs: a client that has sent all its
   * input, or whose window has a size, says so while the process is still being started.
   */
  protected setStdio(stdio: ProcessStdio): void {
    this.#stdio = stdio;
    if (this.#wantedSize !== undefined) {
      stdio.resize(this.#wantedSize.columns, this.#wantedSize.rows);
    }
    if (this.#wantsStdinClosed) stdio.closeStdin();
  }

  /** Marks a Start in flight until the permit is disposed. */
  beginStart(): Disposable {
    const starting = Promise.withResolvers<void>();
    this.#starting = starting;
    return {
      [Symbol.dispose]: () => {
        this.#starting = undefined;
        starting.resolve();
      },
    };
  }

  /** For the runtime call that starts it. */
  protected get startSignal(): AbortSignal {
    this.#startAbort ??= new AbortController();
    return this.#startAbort.signal;
  }

  /** Kills the runtime call that is starting it, if there is one; afterwards it can never be started. */
  abortStart(): void {
    this.#startAbort ??= new AbortController();
    this.#startAbort.abort();
  }

  /** Whether it can never be started any more. */
  protected get isStartAborted(): boolean {
    return this.#startAbort?.signal.aborted === true;
  }

  /** Tells every waiter of the recorded end; for a process that never began, that it did not. */
  announceTermination(): void {
    const termination = this.termination ?? neverStarted();
    this.#isEndTold = true;
    for (const waiter of this.#waiters) waiter.resolve(termination);
  }

  /** The process has exited: its streams end too. Never throws: an end is reported whatever becomes of them. */
  protected endStdio(log: Logger): void {
    try {
      this.#stdio?.processExited();
    } catch (error) {
      log.warn("Cannot close the streams of an ended process", {
        id: this.id,
        error: messageOf(error),
      });
    }
  }

  /**
   * Between the recording of an end and its announcement: gives the client a moment to read what is left in
   * the streams, counted from `exitMs` (of `performance.now`). Never rejects.
   */
  async outputRead(exitMs: number, log: Logger): Promise<void> {
    if (this.#stdio === undefined) return;
    await untilRead(this.#stdio, { exitMs, enough: this.#hurried.promise, log, id: this.id });
  }

  /** Resolves when {@link hurry} is called. */
  get hurried(): Promise<void> {
    return this.#hurried.promise;
  }

  /** From now on its end waits for no reader. */
  hurry(): void {
    this.#hurried.resolve();
  }

  /** For Delete, whose event follows that of the end. */
  protected async endTold(): Promise<void> {
    if (this.termination === undefined || this.#isEndTold) return;
    this.hurry();
    await this.wait();
  }

  /** For {@link restoreProcess}. `isHeldUp`: its end is reported on some other event, which is watched. */
  protected snapshotProcess(inventory: Inventory, { isHeldUp = false } = {}): ProcessState {
    if (this.#starting !== undefined) inventory.addObstacle(`${this.id} is being started`);
    // The successor finds it in the state; nothing would wake a sleeper for it.
    const isUntold = this.#child?.exit !== undefined && !this.#isEndTold;
    if (isUntold && !isHeldUp) inventory.addErrand(`the end of ${this.id} has to be told`);
    return {
      child: this.#child?.snapshot(inventory),
      stdio: this.#stdio?.snapshot(inventory),
      wantsStdinClosed: this.#wantsStdinClosed,
      isStartAborted: this.isStartAborted,
      isEndTold: this.#isEndTold,
      wantedSize: this.#wantedSize,
    };
  }

  /** Makes this process, which has nothing but its place in its life, the one that `state` describes. */
  protected restoreProcess(state: ProcessState, context: ProcessContext): void {
    this.#child = state.child && context.children.restore(state.child);
    this.#stdio = state.stdio && restoreStdio(state.stdio, context);
    this.#wantsStdinClosed = state.wantsStdinClosed;
    if (state.isStartAborted) this.abortStart();
    this.#isEndTold = state.isEndTold ?? this.termination !== undefined;
    this.#wantedSize = state.wantedSize;
  }

  /** CloseIO: the client will write no more. Does nothing where there is no stdin. */
  closeStdin(): void {
    this.#wantsStdinClosed = true;
    this.#stdio?.closeStdin();
  }

  /** ResizePty. Does nothing where there is no terminal. */
  resize(columns: number, rows: number): void {
    this.#wantedSize = { columns, rows };
    this.#stdio?.resize(columns, rows);
  }
}
