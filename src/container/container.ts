/**
 * A container as the shim knows it: init, execs, cgroup; all of it is created, or nothing.
 *
 * It decides nothing about events or their order (`service/exits.ts` does) and knows no wire message.
 */

import { join } from "node:path";
import { ActiveCount } from "../base/active-count.ts";
import { hasReason, messageOf, ShimError } from "../base/error.ts";
import type { Inventory } from "../base/inventory.ts";
import { flag, list, maybe, plain, record, type Shaped } from "../base/shape.ts";
import { Bundle } from "../bundle/bundle.ts";
import { loadSpec } from "../bundle/spec.ts";
import {
  type CgroupLocation,
  cgroupState,
  fromCgroupState,
  locateCgroup,
  toCgroupState,
} from "../cgroup/cgroup.ts";
import type { CgroupMetrics, MetricsReader } from "../cgroup/metrics.ts";
import { type OomWatch, oomState, restoreOom, watchOom } from "../cgroup/oom.ts";
import { cgroupPids } from "../cgroup/pids.ts";
import { pidNamespaceMembers } from "../linux/pid-namespace.ts";
import { SIGKILL } from "../linux/signals.ts";
import { mountRootfs, type RootfsMount } from "../rootfs/rootfs.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { ProcessContext } from "./context.ts";
import { ExecProcess, execProcessState } from "./exec-process.ts";
import { InitProcess } from "./init-process.ts";
import { initProcessState } from "./init-process-state.ts";
import { type RuncOptions, runcOptionsState, saveOptions } from "./options.ts";
import type { TaskProcess } from "./process.ts";
import { type StdioOwner, stdioOwnerState } from "./process-stdio.ts";
import type { StdioPaths } from "./stdio-paths.ts";

/** The OCI runtime of one container. */
export interface OpenedRuntime {
  readonly runtime: Runtime;
  /** Its state directory, namespace included. */
  readonly root: string;
}

/** What Create asks for. */
export interface CreateRequest {
  readonly id: string;
  readonly bundle: string;
  readonly rootfs: readonly RootfsMount[];
  readonly paths: StdioPaths;
  readonly checkpoint: string;
  readonly parentCheckpoint: string;
  readonly options: RuncOptions;
}

/** What Exec registers. */
export interface ExecRequest {
  readonly execId: string;
  readonly paths: StdioPaths;
  /** JSON of the OCI spec's `process`. */
  readonly processJson: string;
}

/** A container as it is handed over. */
export const containerState = record({
  id: plain,
  bundle: plain,
  options: runcOptionsState,
  stdioOwner: stdioOwnerState,
  init: initProcessState,
  execs: list(execProcessState),
  cgroup: maybe(cgroupState),
  oomWatch: maybe(oomState),
  wasOomKilled: flag,
});
export type ContainerState = Shaped<typeof containerState>;

let metricsModule: typeof import("../cgroup/metrics.ts") | undefined;

/** One container of this shim. */
export class Container {
  readonly id: string;
  readonly bundle: Bundle;
  readonly init: InitProcess;
  readonly #runtime: Runtime;
  readonly #context: ProcessContext;
  readonly #stdioOwner: StdioOwner;
  readonly #options: RuncOptions;
  readonly #execs = new Map<string, ExecProcess>();
  readonly #activeExecs = new ActiveCount();
  readonly #verbs = new ActiveCount();
  #cgroup: CgroupLocation | undefined;
  #metrics: MetricsReader | undefined;
  #oomWatch: OomWatch | undefined;
  #onOom: () => void = () => {};
  #wasOomKilled = false;

  private constructor(
    parts: Pick<ContainerState, "id" | "bundle" | "options" | "stdioOwner">,
    init: InitProcess,
    runtime: Runtime,
    context: ProcessContext,
  ) {
    this.id = parts.id;
    this.bundle = new Bundle(parts.bundle);
    this.init = init;
    this.#options = parts.options;
    this.#runtime = runtime;
    this.#context = context;
    this.#stdioOwner = parts.stdioOwner;
  }

  /**
   * Makes a container: options saved for `delete`, rootfs mounted, init created and stopped before its
   * program. On failure, and when `signal` aborts, nothing is left.
   *
   * Throws ShimError with the stock shim's words ("failed to mount rootfs component: ...",
   * "OCI runtime create failed: ...", ...).
   */
  static async create(
    request: CreateRequest,
    { runtime, root }: OpenedRuntime,
    context: ProcessContext,
    signal: AbortSignal,
  ): Promise<Container> {
    const bundle = new Bundle(request.bundle);
    const { options } = request;
    const { hasOwnPidNamespace } = loadSpec(request.bundle);
    await using undo = new AsyncDisposableStack();
    saveOptions(request.bundle, options);
    undo.use(await mountRootfs(request.rootfs, bundle.rootfs, context));
    const stdioOwner = { containerId: request.id, ioUid: options.ioUid, ioGid: options.ioGid };
    const init = new InitProcess(
      {
        containerId: request.id,
        bundle,
        paths: request.paths,
        stdioOwner,
        noPivotRoot: options.noPivotRoot,
        noNewKeyring: options.noNewKeyring,
        criuWorkPath: options.criuWorkPath === "" ? bundle.work : options.criuWorkPath,
        checkpoint: request.checkpoint,
        parentCheckpoint: request.parentCheckpoint,
        hasOwnPidNamespace,
        runtimeState: join(root, request.id),
      },
      runtime,
      context,
    );
    await init.create(signal);
    undo.defer(() => init.abandon());
    if (signal.aborted) throw new ShimError("canceled", `Create of ${request.id} was given up`);
    const { id } = request;
    const parts = { id, bundle: request.bundle, options, stdioOwner };
    const container = new Container(parts, init, runtime, context);
    undo.move();
    return container;
  }

  /** A container that continues a handed-over one. `onOom` as for {@link watchCgroup}. */
  static restore(
    state: ContainerState,
    { runtime }: OpenedRuntime,
    context: ProcessContext,
    onOom: () => void,
  ): Container {
    const init = InitProcess.restore(state.init, runtime, context);
    const container = new Container(state, init, runtime, context);
    const { bundle } = container;
    const shared = { bundle, stdioOwner: state.stdioOwner, init };
    for (const each of state.execs) {
      const exec = ExecProcess.restore(each, shared, runtime, context);
      container.#execs.set(exec.id, exec);
    }
    container.#cgroup = state.cgroup && fromCgroupState(state.cgroup);
    container.#wasOomKilled = state.wasOomKilled;
    container.#onOom = onOom;
    container.#oomWatch =
      state.oomWatch && restoreOom(state.oomWatch, context.poller, () => container.#oomHappened());
    return container;
  }

  /** For {@link restore}. */
  snapshot(inventory: Inventory): ContainerState {
    if (this.#verbs.isActive) inventory.addObstacle(`${this.id} is being changed`);
    return {
      id: this.id,
      bundle: this.bundle.path,
      options: this.#options,
      stdioOwner: this.#stdioOwner,
      init: this.init.snapshot(inventory, { waitsForExecs: this.#hasLiveExecs }),
      execs: [...this.#execs.values()].map((exec) => exec.snapshot(inventory)),
      cgroup: this.#cgroup && toCgroupState(this.#cgroup),
      oomWatch: this.#oomWatch?.snapshot(inventory),
      wasOomKilled: this.#wasOomKilled,
    };
  }

  /**
   * What the kernel accounts to the container now. The readers are loaded on first use. Throws ShimError
   * `notFound` without a cgroup.
   */
  async metrics(): Promise<CgroupMetrics> {
    metricsModule ??= await import("../cgroup/metrics.ts");
    if (this.#cgroup === undefined) throw new ShimError("notFound", "cgroup does not exist");
    this.#metrics ??= new metricsModule.MetricsReader(this.#cgroup);
    return this.#metrics.read();
  }

  get wasOomKilled(): boolean {
    return this.#wasOomKilled;
  }

  /**
   * Finds the cgroup and watches it for OOM kills, until {@link lookForLastOom}. To be called as soon
   * as init exists: it may run out of memory in its first instant. A cgroup that cannot be found or
   * watched is logged; the container works without it, until this is called again, without `onOom`.
   * Never throws.
   */
  watchCgroup(onOom?: () => void): void {
    this.#onOom = onOom ?? this.#onOom;
    const { pid, isDead } = this.init;
    if (pid === 0 || isDead || this.#oomWatch !== undefined) return;
    try {
      this.#cgroup ??= locateCgroup(pid);
      if (this.#cgroup === undefined) return;
      this.#oomWatch = watchOom(this.#cgroup, this.#context.poller, () => this.#oomHappened());
    } catch (error) {
      const { log } = this.#context;
      log.warn("Cannot watch for OOM", { id: this.id, error: messageOf(error) });
    }
  }

  #oomHappened(): void {
    this.#wasOomKilled = true;
    // A program may run out of memory before the runtime has reported that it runs.
    this.init.afterStart(() => this.#onOom());
  }

  /** Reports an OOM kill that has not been reported yet. */
  lookForOom(): void {
    this.#oomWatch?.check();
  }

  /** Reports an OOM kill that has not been reported yet, and stops watching. Never rejects. */
  async lookForLastOom(): Promise<void> {
    await this.#oomWatch?.finalCheck();
    this.#oomWatch?.[Symbol.dispose]();
    this.#oomWatch = undefined;
  }

  /** The process with that exec id, or init for "". Throws ShimError `notFound`. */
  process(execId: string): TaskProcess {
    return execId === "" ? this.init : this.exec(execId);
  }

  /** Throws ShimError `notFound`. */
  exec(execId: string): ExecProcess {
    const exec = this.#execs.get(execId);
    if (exec === undefined) throw new ShimError("notFound", `process does not exist ${execId}`);
    return exec;
  }

  get execs(): IterableIterator<ExecProcess> {
    return this.#execs.values();
  }

  /**
   * Finds exits whose notification was lost. Done whenever a client asks about the container, so that
   * nothing has to wake up for it.
   */
  lookForExits(): void {
    this.init.child?.look();
    for (const exec of this.#execs.values()) exec.child?.look();
  }

  /** Registers a process to be started later. Throws ShimError `alreadyExists`, or as init's state refuses. */
  addExec(request: ExecRequest): ExecProcess {
    const { execId } = request;
    if (this.#execs.has(execId)) throw new ShimError("alreadyExists", `id ${execId}`);
    this.init.permit("exec");
    const exec = new ExecProcess(
      { ...request, bundle: this.bundle, stdioOwner: this.#stdioOwner },
      this.init,
      this.#runtime,
      this.#context,
    );
    this.#execs.set(execId, exec);
    return exec;
  }

  /** Forgets a deleted exec. */
  removeExec(execId: string): void {
    this.#execs.delete(execId);
  }

  /**
   * Counts an exec as running from the request to start it until its end has been recorded.
   * Throws ShimError `failedPrecondition` once init is dead: what starts now could never be counted.
   */
  beginExec(): Disposable {
    if (this.init.isDead) {
      throw new ShimError("failedPrecondition", `container ${this.id} init process is not running`);
    }
    return this.#activeExecs.enter();
  }

  /** Counts an exec as {@link beginExec} does, for one that was begun before the container was handed over. */
  continueExec(): Disposable {
    return this.#activeExecs.enter();
  }

  get #hasLiveExecs(): boolean {
    return [...this.#execs.values()].some(
      ({ child }) => child !== undefined && child.exit === undefined,
    );
  }

  /** Resolves when no exec runs or is being started, and their ends are recorded. */
  execsEnded(): Promise<void> {
    return this.#activeExecs.idle();
  }

  /** Resolves when the end of each ended exec has been reported. */
  async execsTold(): Promise<void> {
    const untold = [...this.#execs.values()].filter(
      ({ termination, isEndTold }) => termination !== undefined && !isEndTold,
    );
    await Promise.all(untold.map((exec) => exec.wait()));
  }

  /** From now on the ends of its processes wait for no reader. */
  hurry(): void {
    this.init.hurry();
    for (const exec of this.#execs.values()) exec.hurry();
  }

  /** No handover until it is disposed: what the runtime does is noted and reported first, even if its client leaves. */
  beginVerb(): Disposable {
    return this.#verbs.enter();
  }

  /** Gives up every start in flight: there is no container left to start anything in. */
  abortStarts(): void {
    this.init.abortStart();
    for (const exec of this.#execs.values()) exec.abortStart();
  }

  /** SIGKILLs every exec that still runs, for when the runtime cannot. */
  killExecs(): void {
    for (const exec of this.#execs.values()) exec.child?.signal(SIGKILL);
  }

  /**
   * Pids of the container, as the kernel has them now. Without a cgroup of its own they come from the pid
   * namespace, and without that they are those that we have started.
   *
   * Never empty: a stopped container that is not deleted yet still has its init. A restarting manager would
   * take an empty answer for a task that may be discarded, exit status and all.
   */
  pids(): readonly number[] {
    const { pid, isDead } = this.init;
    if (isDead || pid === 0) return [pid];
    const pids = this.#livePids();
    return pids.length > 0 ? pids : [pid];
  }

  #livePids(): readonly number[] {
    if (this.#cgroup === undefined) {
      if (this.init.hasOwnPidNamespace) return pidNamespaceMembers(this.init.pid);
      const execs = [...this.#execs.values()].filter(({ child }) => child?.exit === undefined);
      return [this.init.pid, ...execs.map(({ pid }) => pid).filter((pid) => pid !== 0)];
    }
    try {
      return cgroupPids(this.#cgroup);
    } catch (error) {
      if (hasReason(error, "notFound")) return [];
      throw error;
    }
  }

  /** Lets go of what a deleted container still holds: watches, and execs that nobody has deleted. */
  async dispose(): Promise<void> {
    this.#oomWatch?.[Symbol.dispose]();
    this.#oomWatch = undefined;
    this.#cgroup = undefined;
    this.#metrics?.[Symbol.dispose]();
    this.#metrics = undefined;
    await Promise.all([...this.#execs.values()].map((exec) => exec.forget()));
  }
}
