/** An additional process in a container, from the request that registers it to its deletion. */

import { rmSync } from "node:fs";
import { ShimError } from "../base/error.ts";
import type { Inventory } from "../base/inventory.ts";
import { maybe, plain, reasonShape, record, type Shaped } from "../base/shape.ts";
import type { Bundle } from "../bundle/bundle.ts";
import { SIGKILL } from "../linux/signals.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { ProcessContext } from "./context.ts";
import type { InitProcess } from "./init-process.ts";
import {
  advanceExec,
  type ExecState,
  type ExecVerb,
  execState,
  neverStarted,
  permitExec,
  type Termination,
  terminationOf,
} from "./lifecycle.ts";
import { processState, TaskProcess } from "./process.ts";
import { type StdioOwner, settleStdio, startStdio } from "./process-stdio.ts";
import { alreadyFinished, signalChild } from "./signal-child.ts";
import { type StdioPaths, stdioPathsState } from "./stdio-paths.ts";

export interface ExecOptions {
  readonly execId: string;
  readonly bundle: Bundle;
  readonly paths: StdioPaths;
  readonly stdioOwner: StdioOwner;
  /** JSON of the OCI spec's `process`; its `terminal` agrees with `paths.terminal`. */
  readonly processJson: string;
}

/** An exec as it is handed over; what is its container's is not repeated. */
export const execProcessState = record({
  execId: plain,
  paths: stdioPathsState,
  processJson: plain,
  startFailure: maybe(record({ reason: reasonShape, message: plain })),
  process: processState,
  state: execState,
});
export type ExecProcessState = Shaped<typeof execProcessState>;

/** A process that `exec` adds. */
export class ExecProcess extends TaskProcess {
  readonly #options: ExecOptions;
  readonly #init: InitProcess;
  readonly #runtime: Runtime;
  readonly #context: ProcessContext;
  #state: ExecState = { kind: "created" };
  #isStarting = false;
  #startFailure: ShimError | undefined;

  constructor(options: ExecOptions, init: InitProcess, runtime: Runtime, context: ProcessContext) {
    super(options.execId, options.paths);
    this.#options = options;
    this.#init = init;
    this.#runtime = runtime;
    this.#context = context;
  }

  /** An exec that continues a handed-over one. */
  static restore(
    state: ExecProcessState,
    container: Pick<ExecOptions, "bundle" | "stdioOwner"> & { readonly init: InitProcess },
    runtime: Runtime,
    context: ProcessContext,
  ): ExecProcess {
    const { execId, paths, processJson } = state;
    const { init, ...own } = container;
    const exec = new ExecProcess({ execId, paths, processJson, ...own }, init, runtime, context);
    exec.#state = state.state;
    exec.restoreProcess(state.process, context);
    const failure = state.startFailure;
    if (failure !== undefined) exec.#startFailure = new ShimError(failure.reason, failure.message);
    return exec;
  }

  /** For {@link restore}. */
  snapshot(inventory: Inventory): ExecProcessState {
    const { execId, paths, processJson } = this.#options;
    if (this.#isStarting) inventory.addObstacle(`${execId} is being started`);
    const process = this.snapshotProcess(inventory);
    const failure = this.#startFailure;
    const startFailure = failure && { reason: failure.reason, message: failure.message };
    return { execId, paths, processJson, startFailure, process, state: this.#state };
  }

  /**
   * While the container is frozen, that is the state. What could not be started keeps its earlier state, as
   * in the stock shim; what was killed before it began has ended.
   */
  override get status(): "created" | "running" | "pausing" | "paused" | "stopped" {
    const parent = this.#init.status;
    if (parent === "paused" || parent === "pausing") return parent;
    const { kind } = this.#state;
    const hasFailed = kind === "stopped" && this.child === undefined && !this.isStartAborted;
    if (hasFailed) return "created";
    return kind === "deleted" ? "stopped" : kind;
  }

  override get termination(): Termination | undefined {
    return terminationOf(this.#state);
  }

  permit(verb: ExecVerb): void {
    permitExec(this.#state, verb);
  }

  /**
   * Starts the process. A failure ends its life: waiters are released and Delete is due. Called again,
   * it fails the same way.
   */
  async start(): Promise<void> {
    using _permit = await this.lock.acquire();
    if (this.#startFailure !== undefined) throw this.#startFailure;
    this.permit("start");
    this.#isStarting = true;
    try {
      const child = await startStdio({
        paths: this.paths,
        // By this id a logging program is told whose output it gets: the exec's, as with the stock shim.
        owner: { ...this.#options.stdioOwner, containerId: this.id },
        context: this.#context,
        // What it leaves running in the container may hold its output open forever, while its client waits
        // for the end of file.
        handsOver: false,
        onOpen: (stdio) => this.setStdio(stdio),
        run: (open) =>
          this.#runtime.exec(this.#options.stdioOwner.containerId, {
            processJson: this.#options.processJson,
            pidFile: this.#options.bundle.execPidFile(this.id),
            consoleSocket: open.consoleSocket,
            stdio: open.childFds,
            signal: this.startSignal,
          }),
      });
      this.setChild(child);
      this.#state = advanceExec(this.#state, { kind: "running" });
    } catch (error) {
      if (error instanceof ShimError) this.#startFailure = error;
      this.#endBeforeStart();
      throw error;
    } finally {
      this.#isStarting = false;
    }
  }

  /**
   * Signals the process itself, by pidfd. Before it exists, SIGKILL gives up a start in flight, which may
   * hang; any other signal throws ShimError `failedPrecondition`.
   */
  kill(signal: number): void {
    this.permit("kill");
    const { child } = this;
    if (this.termination !== undefined || child?.exit !== undefined) throw alreadyFinished();
    if (child !== undefined) signalChild(() => child.signal(signal));
    else if (signal === SIGKILL && this.#isStarting) this.abortStart();
    else throw new ShimError("failedPrecondition", "process not created");
  }

  /** Records the end, once, and lets the streams end. The waiters are still to be told. */
  recordTermination(termination: Termination): void {
    if (this.#state.kind === "stopped" || this.#state.kind === "deleted") return;
    this.#state = advanceExec(this.#state, { kind: "stopped", termination });
    this.endStdio(this.#context.log);
  }

  #endBeforeStart(): void {
    this.recordTermination(neverStarted());
    this.announceTermination();
  }

  /** The container is gone: lets go of the streams, and releases those who wait for what never started. */
  async forget(): Promise<void> {
    if (this.child === undefined) this.#endBeforeStart();
    await this.stdio?.close();
  }

  #removePidFile(): void {
    try {
      rmSync(this.#options.bundle.execPidFile(this.id), { force: true });
    } catch {
      // A file system that has become read-only: the file goes with the bundle.
    }
  }

  /** Lets go of everything. The container's Delete does not wait for this. */
  async delete(): Promise<Termination | undefined> {
    using _permit = await this.lock.acquire();
    this.permit("delete");
    await this.endTold();
    await settleStdio(this.stdio, this.#context.log, this.id);
    await this.stdio?.close();
    this.#removePidFile();
    const { termination } = this;
    this.#state = advanceExec(this.#state, { kind: "deleted", termination });
    if (termination === undefined) this.announceTermination();
    return termination;
  }
}
