/**
 * The init process of a container: the one that `create` makes and whose end ends the container.
 *
 * Verbs that change it are serialised by the lock; State, Wait and Kill are not, so they never wait for a
 * runtime process. Events are not sent from here: the service does that, in the order that it must keep.
 */

import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { messageOf, ShimError } from "../base/error.ts";
import type { Inventory } from "../base/inventory.ts";
import { Bundle } from "../bundle/bundle.ts";
import { SIGKILL } from "../linux/signals.ts";
import { unmountRootfs } from "../rootfs/rootfs.ts";
import { RuntimeError, wasKilled } from "../runtime/error.ts";
import type { CheckpointRequest, Runtime } from "../runtime/runtime.ts";
import {
  checkpointConfig,
  loadStreamKeys,
  restoreConfig,
  saveStreamKeys,
  streamKeys,
} from "./checkpoint-stdio.ts";
import { mayReopenFifos } from "./confinement.ts";
import type { ProcessContext } from "./context.ts";
import { keepCriuLog } from "./criu-log.ts";
import type { InitProcessState } from "./init-process-state.ts";
import { removeCgroup } from "./left-cgroup.ts";
import {
  advanceInit,
  type InitState,
  type InitVerb,
  neverStarted,
  permitInit,
  type Termination,
  terminationOf,
} from "./lifecycle.ts";
import { TaskProcess } from "./process.ts";
import { type RunWithStdio, type StdioOwner, settleStdio, startStdio } from "./process-stdio.ts";
import { alreadyFinished, type SignalRequest, signalChild } from "./signal-child.ts";
import type { StdioPaths } from "./stdio-paths.ts";
import { thaw } from "./thaw.ts";

/** How long Delete waits for a killed, never started process to be gone. */
const CREATED_KILL_TIMEOUT_MS = 10_000;
/** How long Delete lets the runtime finish: enough for a checkpoint that ends its container, not for one that hangs. */
const CHANGE_PATIENCE_MS = 5_000;

/** What is fixed when a container is created. */
export interface InitOptions {
  readonly containerId: string;
  readonly bundle: Bundle;
  readonly paths: StdioPaths;
  readonly stdioOwner: StdioOwner;
  readonly noPivotRoot: boolean;
  readonly noNewKeyring: boolean;
  readonly criuWorkPath: string;
  /** Directory of a checkpoint to restore from; "" for a fresh process. */
  readonly checkpoint: string;
  readonly parentCheckpoint: string;
  /** Where the runtime keeps its state for this container. */
  readonly runtimeState: string;
  readonly hasOwnPidNamespace: boolean;
}

/** A container's init process. */
export class InitProcess extends TaskProcess {
  readonly #options: InitOptions;
  readonly #runtime: Runtime;
  readonly #context: ProcessContext;
  #state: InitState;
  #isPausing = false;
  /** Gives up runtime calls that work on it while it lives. */
  readonly #changes = new AbortController();
  /** Gives up calls that still signal it when it is deleted: the next container may have its name. */
  readonly #signals = new AbortController();

  constructor(options: InitOptions, runtime: Runtime, context: ProcessContext) {
    super(options.containerId, options.paths);
    this.#options = options;
    this.#runtime = runtime;
    this.#context = context;
    this.#state = { kind: options.checkpoint === "" ? "created" : "checkpointed" };
  }

  /** An init that continues a handed-over one. */
  static restore(state: InitProcessState, runtime: Runtime, context: ProcessContext): InitProcess {
    const init = new InitProcess({ ...state, bundle: new Bundle(state.bundle) }, runtime, context);
    init.#state = state.state;
    init.restoreProcess(state.process, context);
    return init;
  }

  /** For {@link restore}. `waitsForExecs`: some run, whose ends come before its own. */
  snapshot(inventory: Inventory, { waitsForExecs = false } = {}): InitProcessState {
    if (this.#isPausing) inventory.addObstacle(`${this.id} is being paused`);
    return {
      ...this.#options,
      bundle: this.#options.bundle.path,
      process: this.snapshotProcess(inventory, { isHeldUp: waitsForExecs }),
      state: this.#state,
    };
  }

  override get status(): "created" | "running" | "pausing" | "paused" | "stopped" {
    if (this.#isPausing && this.#state.kind === "running") return "pausing";
    if (this.#state.kind === "checkpointed") return "created";
    return this.#state.kind === "deleted" ? "stopped" : this.#state.kind;
  }

  override get termination(): Termination | undefined {
    return terminationOf(this.#state);
  }

  /** Whether the kernel has reaped it, recorded or not: no exec may start any more. */
  get isDead(): boolean {
    return this.child?.exit !== undefined;
  }

  /** Whether the runtime has a container of its name. */
  get isRecorded(): boolean {
    return existsSync(this.#options.runtimeState);
  }

  /** Whether all processes of its pid namespace end with it: then a signal to it is all that the runtime would send. */
  get hasOwnPidNamespace(): boolean {
    return this.#options.hasOwnPidNamespace;
  }

  /** Throws when its state refuses `verb`. */
  permit(verb: InitVerb): void {
    permitInit(this.#state, verb);
  }

  /**
   * Makes the process, stopped before its program, and its stdio. A process that is to be restored
   * from a checkpoint is only recorded. On failure, and when `signal` aborts, nothing of it is left.
   * Throws ShimError with the stock shim's words: "OCI runtime create failed: ...".
   */
  async create(signal: AbortSignal): Promise<void> {
    if (this.#state.kind === "checkpointed") return;
    const { containerId, bundle, noPivotRoot, noNewKeyring } = this.#options;
    await this.#bringToLife((stdio) =>
      this.#runtime.create(containerId, {
        pidFile: bundle.initPidFile,
        consoleSocket: stdio.consoleSocket,
        noPivot: noPivotRoot,
        noNewKeyring,
        stdio: stdio.childFds,
        signal,
      }),
    );
  }

  async #deleteLeftovers(): Promise<void> {
    try {
      await this.#runtime.delete(this.id, { force: true });
    } catch (error) {
      const { log } = this.#context;
      log.warn("A failed create left a container", { id: this.id, error: messageOf(error) });
    }
  }

  /**
   * Lets the process run its program, or restores it. A restore that fails ends its life: waiters are
   * released and Delete is due. Throws as the runtime words it.
   */
  async start(): Promise<void> {
    using _permit = await this.lock.acquire();
    this.permit("start");
    if (this.#state.kind === "checkpointed") await this.#restoreOrEnd();
    else await this.#runtime.start(this.id, { signal: this.startSignal });
    // It may have ended meanwhile, and been reported so, if the start was asked for too late.
    if (this.termination === undefined) {
      this.#state = advanceInit(this.#state, { kind: "running" });
    }
  }

  /** Managers delete what has stopped, and a process that stays "created" forever would never be deleted. */
  async #restoreOrEnd(): Promise<void> {
    try {
      await this.#restore();
    } catch (error) {
      await this.recordTermination(neverStarted());
      this.announceTermination();
      throw error;
    }
  }

  async #restore(): Promise<void> {
    const { checkpoint, parentCheckpoint, criuWorkPath, bundle, noPivotRoot } = this.#options;
    const config = restoreConfig(loadStreamKeys(checkpoint));
    await this.#bringToLife((stdio) =>
      this.#runtime.restore(this.id, {
        imagePath: checkpoint,
        parentPath: parentCheckpoint,
        workPath: criuWorkPath,
        pidFile: bundle.initPidFile,
        consoleSocket: stdio.consoleSocket,
        noPivot: noPivotRoot,
        stdio: stdio.childFds,
        criu: { config },
        signal: this.startSignal,
      }),
    );
  }

  /** Opens stdio, runs the runtime, adopts the process that it leaves behind. On failure nothing is left. */
  async #bringToLife(run: RunWithStdio): Promise<void> {
    const wasThere = this.isRecorded;
    try {
      const child = await startStdio({
        paths: this.paths,
        owner: this.#options.stdioOwner,
        context: this.#context,
        // Everything that could hold it open ends with init.
        handsOver: mayReopenFifos(this.#options.bundle.path),
        onOpen: (stdio) => this.setStdio(stdio),
        run,
      });
      this.setChild(child);
    } catch (error) {
      // A runtime that refuses cleans up after itself, and a container of that name may be another's. One
      // that has made the container, or was killed meanwhile, has left something.
      if (!wasThere && this.isRecorded) await this.#deleteLeftovers();
      if (wasKilled(error)) await removeCgroup(this.#options.bundle.path);
      throw error;
    }
  }

  /** Freezes all processes of the container. State says `pausing` meanwhile. */
  async pause(): Promise<void> {
    using _permit = await this.lock.acquire();
    this.permit("pause");
    this.#isPausing = true;
    try {
      await this.#runtime.pause(this.id, { signal: this.#changes.signal });
    } catch (error) {
      // Killed half-way it may have frozen the container, which would count as running and never be thawed.
      if (wasKilled(error)) await this.#thaw();
      throw error;
    } finally {
      this.#isPausing = false;
    }
    if (this.#state.kind !== "running") {
      // It ended meanwhile: a frozen cgroup could never be removed.
      await this.#thaw();
      this.permit("pause");
    }
    this.#state = advanceInit(this.#state, { kind: "paused" });
  }

  /** Thaws what {@link pause} froze, unless it already runs again: a signal to all processes can thaw it. */
  async resume(): Promise<void> {
    using _permit = await this.lock.acquire();
    this.permit("resume");
    try {
      await this.#runtime.resume(this.id, { signal: this.#changes.signal });
    } catch (error) {
      if (!(error instanceof RuntimeError && error.kind === "notPaused")) throw error;
    }
    if (this.#state.kind === "paused") this.#state = advanceInit(this.#state, { kind: "running" });
  }

  /** Changes resource limits; `resources` is the JSON of the OCI spec's `linux.resources`. */
  async update(resources: Uint8Array): Promise<void> {
    using _permit = await this.lock.acquire();
    this.permit("update");
    await this.#runtime.update(this.id, resources, { signal: this.#changes.signal });
  }

  /**
   * Writes a checkpoint to `request.imagePath`. On failure CRIU's log is kept in the bundle and named
   * in the error, of which only the first line is passed on.
   */
  async checkpoint(
    request: Omit<CheckpointRequest, "workPath"> & { workPath: string },
  ): Promise<void> {
    using _permit = await this.lock.acquire();
    this.permit("checkpoint");
    const keepsWork = request.workPath !== "";
    const work = keepsWork ? request.workPath : join(this.#options.bundle.work, "criu-work");
    const keys = streamKeys(this.stdio?.handedStreams() ?? []);
    const criu = { ...request.criu, config: checkpointConfig(keys) };
    // Before the container may be gone: without the keys its image would be of no use.
    saveStreamKeys(request.imagePath, keys);
    try {
      const { signal } = this.#changes;
      await this.#runtime.checkpoint(this.id, { ...request, workPath: work, criu, signal });
    } catch (cause) {
      const { log } = this.#context;
      throw keepCriuLog(cause, { work, bundle: this.#options.bundle.path, log });
    } finally {
      if (!keepsWork) rmSync(work, { recursive: true, force: true });
    }
  }

  /**
   * Sends a signal. By the kernel where the runtime would do just that; by the runtime where it would do
   * more: all processes, a frozen container, a pid namespace shared with others.
   * Throws ShimError `notFound` "process already finished" or "no such container".
   */
  async kill(request: SignalRequest): Promise<void> {
    this.permit("kill");
    const { child } = this;
    if (child?.exit !== undefined && !request.all) throw alreadyFinished();
    if (child !== undefined && child.exit === undefined) {
      // With its init the kernel kills the whole pid namespace; the runtime would need a cgroup for that.
      const isEnough = !request.all || request.signal === SIGKILL;
      const isPlain = this.hasOwnPidNamespace && this.#state.kind !== "paused" && !this.#isPausing;
      if (isEnough && isPlain) return signalChild(() => child.signal(request.signal));
    }
    const { signal } = this.#signals;
    await this.#runtime.kill(this.id, request.signal, { all: request.all, signal });
  }

  /** Kills what init has left behind in a pid namespace shared with others. */
  async killRest(): Promise<void> {
    await this.#runtime.kill(this.id, SIGKILL, { all: true });
  }

  /**
   * Records the end, once: streams end, a frozen container is thawed so that its cgroup can be removed.
   * The waiters are still to be told. Never rejects.
   */
  async recordTermination(termination: Termination): Promise<void> {
    if (terminationOf(this.#state) !== undefined || this.#state.kind === "deleted") return;
    const wasPaused = this.#state.kind === "paused";
    this.#state = advanceInit(this.#state, { kind: "stopped", termination });
    this.endStdio(this.#context.log);
    if (wasPaused) await this.#thaw();
  }

  async #thaw(): Promise<void> {
    const { signal } = this.#changes;
    // A call that had to be given up may hang here too.
    const bounds = signal.aborted ? { timeoutMs: CHANGE_PATIENCE_MS } : { signal };
    await thaw(this.#runtime, this.id, { ...bounds, log: this.#context.log });
  }

  /**
   * Deletes the process, the runtime's record of the container and the rootfs mounts. May be called
   * again after a failure. A process that was created and never started is killed first, and its
   * end reported before this returns. One that runs is refused at once, whatever the runtime is busy with.
   */
  async delete(): Promise<Termination | undefined> {
    if (this.#state.kind === "created") await this.#killCreated();
    this.permit("delete");
    using _permit = await this.#lockToDelete();
    this.permit("delete");
    await this.endTold();
    await settleStdio(this.stdio, this.#context.log, this.id);
    try {
      await this.#runtime.delete(this.id, { force: false });
    } catch (cause) {
      // Already gone, behind our back or by a checkpoint: the rest is ours to clean up.
      if (!(cause instanceof RuntimeError && cause.kind === "containerNotFound")) throw cause;
    }
    await this.stdio?.close();
    await unmountRootfs(this.#options.bundle.rootfs, { children: this.#context.children });
    const termination = terminationOf(this.#state);
    this.#state = advanceInit(this.#state, { kind: "deleted", termination });
    for (const each of [this.#changes, this.#signals]) each.abort();
    if (termination === undefined) this.announceTermination();
    return termination;
  }

  async #lockToDelete(): Promise<Disposable> {
    const patience = setTimeout(() => {
      this.abortStart(); // A restore.
      this.#changes.abort();
    }, CHANGE_PATIENCE_MS);
    try {
      return await this.lock.acquire();
    } finally {
      clearTimeout(patience);
    }
  }

  /** So that its TaskExit precedes TaskDelete, as for every process. */
  async #killCreated(): Promise<void> {
    const { child } = this;
    if (child === undefined) return;
    child.signal(SIGKILL);
    this.hurry();
    try {
      await this.wait(AbortSignal.timeout(CREATED_KILL_TIMEOUT_MS));
    } catch (cause) {
      const text = `Cannot delete ${this.id}: its process ${child.pid} is not gone ${CREATED_KILL_TIMEOUT_MS} ms after SIGKILL`;
      throw new ShimError("deadlineExceeded", text, { cause });
    }
  }

  /** Undoes a creation that failed after the process was there. */
  async abandon(): Promise<void> {
    await this.#deleteLeftovers();
    await this.child?.exited;
    await this.stdio?.close();
  }
}
