/**
 * The Task API, RPC by RPC: decode, ask the container, publish, answer.
 *
 * One implementation serves versions 2 and 3 of the service. State, Pids, Wait, Stats and Connect are
 * answered from memory and the kernel; they never wait for a runtime process.
 */

import { requireId } from "../base/id.ts";
import type { Inventory } from "../base/inventory.ts";
import type { Logger } from "../base/log.ts";
import { list, record, type Shaped } from "../base/shape.ts";
import { forgetDeletion, saveDeletion } from "../bundle/deletion-record.ts";
import { Container, containerState, type OpenedRuntime } from "../container/container.ts";
import type { ProcessContext } from "../container/context.ts";
import type { RuncOptions } from "../container/options.ts";
import {
  type TaskEvent,
  taskCheckpointed,
  taskDelete,
  taskExecAdded,
  taskExecStarted,
  taskOom,
  taskPaused,
  taskResumed,
  taskStart,
} from "../event/task-event.ts";
import {
  type CheckpointTaskRequest,
  type CloseIORequest,
  type ConnectRequest,
  type ConnectResponse,
  type CreateTaskRequest,
  type CreateTaskResponse,
  type DeleteRequest,
  DeleteResponse,
  type ExecProcessRequest,
  type KillRequest,
  type PauseRequest,
  type PidsRequest,
  type PidsResponse,
  type ResizePtyRequest,
  type ResumeRequest,
  type ShutdownRequest,
  type StartRequest,
  type StartResponse,
  type StateRequest,
  type StateResponse,
  type StatsRequest,
  type StatsResponse,
  type UpdateTaskRequest,
  type WaitRequest,
  type WaitResponse,
} from "../gen/containerd/task/v2/task.ts";
import type { Empty } from "../gen/google/protobuf/empty.ts";
import type { CallContext } from "../rpc/service.ts";
import { requireBundle } from "./check.ts";
import {
  toCheckpointOptions,
  toCreateEvent,
  toCreateRequest,
  toExitedAt,
  toPaths,
  toProcessDetails,
  toProcessJson,
  toResourcesJson,
  toStateResponse,
} from "./convert.ts";
import { Exits, type Publish } from "./exits.ts";
import { forgetLost } from "./lost.ts";
import { decodeRuncOptions } from "./options.ts";
import { Registry } from "./registry.ts";
import { type Deleted, RepeatedCalls, repeatedCallsState } from "./repeated-calls.ts";

export interface TaskServiceOptions {
  readonly shimPid: number;
  readonly context: ProcessContext;
  /** The OCI runtime for one container. */
  readonly openRuntime: (bundle: string, options: RuncOptions) => OpenedRuntime;
  readonly publish: Publish;
  /** Called while the runtime creates a container: an event will follow. */
  readonly onCreating?: () => void;
  /** Called when Shutdown may be obeyed; returns at once, the answer goes out first. */
  readonly shutdown: () => void;
  /** Called when a container has been deleted, and all that is left to do about it is in its bundle. */
  readonly onDeleted?: (bundle: string) => void;
  /** Called when the last container has been deleted: a live manager will ask for the end. */
  readonly onEmpty: () => void;
  readonly log: Logger;
}

/** All that the service knows. */
export const taskServiceState = record({
  containers: list(containerState),
  repeated: repeatedCallsState,
});
export type TaskServiceState = Shaped<typeof taskServiceState>;

/** Implements containerd.task.v2.Task and containerd.task.v3.Task. */
export class TaskService {
  readonly #options: TaskServiceOptions;
  readonly #registry = new Registry();
  readonly #exits: Exits;
  /** Creates in flight; aborting one gives it up. */
  readonly #creations = new Map<string, AbortController>();
  #wantsShutdown = false;
  #stats: typeof import("./stats.ts") | undefined;
  readonly #repeated = new RepeatedCalls();

  constructor(options: TaskServiceOptions) {
    this.#options = options;
    this.#exits = new Exits(options);
  }

  /** How many containers this shim holds. */
  get size(): number {
    return this.#registry.size;
  }

  /** The containers, as they are now. */
  get containers(): Iterable<Container> {
    return this.#registry.values();
  }

  /** Reports the ends that wait for clients to read. Resolves when they are reported, and nothing is being created. */
  async hurry(): Promise<void> {
    await Promise.all([this.#exits.hurry(this.containers), this.#repeated.made()]);
  }

  /** For {@link restore}. */
  snapshot(inventory: Inventory): TaskServiceState {
    this.#registry.inspect(inventory);
    this.#exits.inspect(inventory);
    const repeated = this.#repeated.snapshot(inventory);
    const containers = [...this.#registry.values()].map((each) => each.snapshot(inventory));
    return { containers, repeated };
  }

  /** Takes over the containers of another service; to be called before any call. */
  restore(state: TaskServiceState): void {
    const { context, openRuntime } = this.#options;
    this.#repeated.restore(state.repeated);
    for (const each of state.containers) {
      const runtime = openRuntime(each.bundle, each.options);
      const onOom = () => this.#publish(container, taskOom({ containerId: each.id }));
      const container: Container = Container.restore(each, runtime, context, onOom);
      this.#registry.add(container);
      this.#exits.followRestored(container);
    }
  }

  async create(request: CreateTaskRequest, { signal }: CallContext): Promise<CreateTaskResponse> {
    requireId("task id", request.id);
    requireBundle(request.bundle);
    // What follows on the connection must find it begun: no wait where nothing is in its way.
    if (this.#registry.find(request.id) !== undefined) await this.forgetLost(request.id);
    return await this.#repeated.creates.run(request, signal, () => this.#create(request));
  }

  /** Goes on when its client has left: a retry, or a Delete, will come. */
  async #create(request: CreateTaskRequest): Promise<CreateTaskResponse> {
    const { id } = request;
    const reservation = this.#registry.reserve(id);
    const givenUp = new AbortController();
    this.#creations.set(id, givenUp);
    this.#repeated.deletes.forgetContainer(id);
    try {
      const container = await this.#makeContainer(request, givenUp.signal);
      this.#registry.add(container);
      this.#wantsShutdown = false;
      const { pid } = container.init;
      this.#publish(container, toCreateEvent(request, pid));
      this.#follow(container);
      return { pid };
    } finally {
      this.#creations.delete(id);
      reservation[Symbol.dispose]();
      if (this.#registry.size === 0) this.#becameEmpty();
    }
  }

  async #makeContainer(request: CreateTaskRequest, signal: AbortSignal): Promise<Container> {
    const { context, openRuntime, onCreating } = this.#options;
    const options = decodeRuncOptions(request.options);
    forgetDeletion(request.bundle);
    if (onCreating !== undefined) setImmediate(onCreating); // by then the runtime is at work
    const runtime = openRuntime(request.bundle, options);
    return await Container.create(toCreateRequest(request, options), runtime, context, signal);
  }

  /** Whoever deletes what is being created no longer wants it. Returns when nothing of it is left. */
  async #giveUpCreation(id: string): Promise<void> {
    this.#creations.get(id)?.abort();
    await this.#repeated.creates.settled({ id, execId: "" });
  }

  /** From here on the container's OOM kills and its end are reported. Does nothing before init exists. */
  #follow(container: Container): void {
    if (container.init.child === undefined) return;
    container.watchCgroup(() => this.#publish(container, taskOom({ containerId: container.id })));
    this.#exits.followInit(container);
  }

  async start(request: StartRequest, { signal }: CallContext): Promise<StartResponse> {
    return await this.#repeated.starts.run(request, signal, () => this.#start(request));
  }

  async #start(request: StartRequest): Promise<StartResponse> {
    const { id, execId } = request;
    const container = this.#registry.get(id);
    this.#repeated.processStarts(request);
    if (execId !== "") return { pid: await this.#startExec(container, execId) };
    const { init } = container;
    const wasThere = init.child !== undefined;
    using _starting = init.beginStart();
    container.watchCgroup();
    await init.start();
    this.#publish(container, taskStart({ containerId: id, pid: init.pid }));
    // A restored process comes to exist only now.
    if (!wasThere) this.#follow(container);
    return { pid: init.pid };
  }

  async #startExec(container: Container, execId: string): Promise<number> {
    const exec = container.exec(execId);
    using undo = new DisposableStack();
    const active = undo.use(container.beginExec());
    await exec.start();
    const { pid } = exec;
    this.#publish(container, taskExecStarted({ containerId: container.id, execId, pid }));
    this.#exits.followExec(container, exec, active);
    undo.move();
    // Init ended while the runtime was at work, and the kill of init's leftovers came too early for this exec.
    const { init } = container;
    if (init.isDead && !init.hasOwnPidNamespace) container.killExecs();
    return pid;
  }

  async delete(request: DeleteRequest, { signal }: CallContext): Promise<DeleteResponse> {
    if (request.execId === "") await this.#giveUpCreation(request.id);
    const { deletes } = this.#repeated;
    return (await deletes.run(request, signal, () => this.#delete(request))).response;
  }

  async #delete({ id, execId }: DeleteRequest): Promise<Deleted> {
    const container = this.#registry.get(id);
    const process = execId === "" ? container.init : container.exec(execId);
    const termination = await process.delete();
    const exitStatus = termination?.status ?? 0;
    const response = { pid: process.pid, exitStatus, exitedAt: toExitedAt(termination) };
    const state = toStateResponse(container.bundle.path, process);
    this.#repeated.processEnds({ id, execId });
    if (execId === "") {
      await container.dispose();
      this.#registry.remove(container);
      saveDeletion(container.bundle.path, DeleteResponse.encode(response).finish());
      this.#options.onDeleted?.(container.bundle.path);
      this.#publish(container, taskDelete({ containerId: id, id: "", ...response }));
      if (this.#registry.size === 0) this.#options.onEmpty();
    } else {
      container.removeExec(execId);
    }
    return { response, state };
  }

  /** Forgets the containers, or the one with that id, that `delete` has cleaned up: they must be in nobody's way. */
  async forgetLost(id?: string): Promise<void> {
    await forgetLost(this.#registry, id, this.#options.log, (container) => {
      this.#repeated.processEnds({ id: container.id, execId: "" });
      if (this.#registry.size === 0) this.#options.onEmpty();
    });
  }

  async exec(request: ExecProcessRequest, { signal }: CallContext): Promise<Empty> {
    return await this.#repeated.execs.run(request, signal, async () => this.#exec(request));
  }

  #exec(request: ExecProcessRequest): Empty {
    const container = this.#registry.get(request.id);
    const { execId } = request;
    requireId("exec id", execId);
    const processJson = toProcessJson(request.spec, request.terminal);
    container.addExec({ execId, paths: toPaths(request), processJson });
    this.#repeated.deletes.forget(request);
    this.#publish(container, taskExecAdded({ containerId: request.id, execId }));
    return {};
  }

  resizePty({ id, execId, width, height }: ResizePtyRequest): Empty {
    const container = this.#registry.get(id);
    if (execId !== "") container.exec(execId).permit("resize");
    container.process(execId).resize(width, height);
    return {};
  }

  state({ id, execId }: StateRequest): StateResponse {
    const untold = this.#repeated.untold(id, execId);
    if (untold !== undefined) return untold.state;
    const container = this.#registry.get(id);
    container.lookForExits();
    return toStateResponse(container.bundle.path, container.process(execId));
  }

  async pause({ id }: PauseRequest): Promise<Empty> {
    const container = this.#registry.get(id);
    using _verb = container.beginVerb();
    await container.init.pause();
    this.#publishUnlessEnded(container, taskPaused({ containerId: id }));
    return {};
  }

  async resume({ id }: ResumeRequest): Promise<Empty> {
    const container = this.#registry.get(id);
    using _verb = container.beginVerb();
    await container.init.resume();
    this.#publishUnlessEnded(container, taskResumed({ containerId: id }));
    return {};
  }

  async kill({ id, execId, signal, all }: KillRequest): Promise<Empty> {
    const container = this.#registry.get(id);
    if (execId === "") await container.init.kill({ signal, all });
    else container.exec(execId).kill(signal);
    return {};
  }

  pids({ id }: PidsRequest): PidsResponse {
    const untold = this.#repeated.untold(id, "");
    if (untold !== undefined) return { processes: [{ pid: untold.state.pid, info: undefined }] };
    const container = this.#registry.get(id);
    container.lookForExits();
    const infos = new Map([...container.execs].map((one) => [one.pid, toProcessDetails(one.id)]));
    return { processes: container.pids().map((pid) => ({ pid, info: infos.get(pid) })) };
  }

  closeIO({ id, execId }: CloseIORequest): Empty {
    this.#registry.get(id).process(execId).closeStdin();
    return {};
  }

  async checkpoint({ id, path, options }: CheckpointTaskRequest): Promise<Empty> {
    const container = this.#registry.get(id);
    const criu = toCheckpointOptions(options);
    const { workPath, exit } = criu;
    using _verb = container.beginVerb();
    await container.init.checkpoint({ imagePath: path, workPath, leaveRunning: !exit, criu });
    this.#publish(container, taskCheckpointed({ containerId: id, checkpoint: path }));
    return {};
  }

  async update({ id, resources }: UpdateTaskRequest): Promise<Empty> {
    await this.#registry.get(id).init.update(toResourcesJson(resources));
    return {};
  }

  async wait({ id, execId }: WaitRequest, { signal }: CallContext): Promise<WaitResponse> {
    const untold = this.#repeated.untold(id, execId);
    if (untold !== undefined) return untold.response;
    const container = this.#registry.get(id);
    container.lookForExits();
    const termination = await container.process(execId).wait(signal);
    return { exitStatus: termination.status, exitedAt: toExitedAt(termination) };
  }

  async stats({ id }: StatsRequest): Promise<StatsResponse> {
    const container = this.#registry.get(id);
    this.#stats ??= await import("./stats.ts");
    return { stats: this.#stats.toStats(await container.metrics()) };
  }

  connect({ id }: ConnectRequest): ConnectResponse {
    const untold = this.#repeated.untold(id, "");
    const taskPid = this.#registry.find(id)?.init.pid ?? untold?.state.pid ?? 0;
    return { shimPid: this.#options.shimPid, taskPid, version: "" };
  }

  /**
   * Silently refused while a container is left: containerd asks after each delete, in a pod too. If one is
   * only being created, it is obeyed when that has failed.
   */
  shutdown(_request: ShutdownRequest): Empty {
    if (this.#registry.size === 0) this.#options.shutdown();
    else this.#wantsShutdown = this.#registry.isOnlyCreating;
    return {};
  }

  /** A Create has failed, and it was the only one. */
  #becameEmpty(): void {
    if (this.#wantsShutdown) this.#options.shutdown();
    else this.#options.onEmpty();
  }

  /** A runtime call may end after its container has: nothing is reported of it any more then. */
  #publishUnlessEnded(container: Container, event: TaskEvent): void {
    if (container.init.termination === undefined) this.#publish(container, event);
  }

  #publish({ bundle }: Container, event: TaskEvent): void {
    this.#options.publish(event, bundle.path);
  }
}
