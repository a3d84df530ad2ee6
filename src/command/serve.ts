/**
 * `serve`: the shim itself, and the composition root. Every long-lived object is made here and handed to
 * those that need it; nothing else in the program is wired anywhere else.
 *
 * It ends when containerd asks (Shutdown with no container left), on SIGTERM or SIGINT (containers go
 * on), or when it has no container and nobody is connected. Containers are never killed from here.
 */

import type { Logger } from "../base/log.ts";
import { toRuntimeOptions } from "../container/runtime-options.ts";
import { BundleJournals } from "../event/journal-file.ts";
import { Publisher } from "../event/publisher.ts";
import type { TaskEvent } from "../event/task-event.ts";
import { connectEventSink } from "../event/ttrpc-sink.ts";
import { TaskDefinition as TaskDefinitionV2 } from "../gen/containerd/task/v2/task.ts";
import { TaskDefinition as TaskDefinitionV3 } from "../gen/containerd/task/v3/task.ts";
import { Children } from "../linux/children.ts";
import { removeStaleSocket, socketPath } from "../linux/listener.ts";
import { LogSink } from "../linux/log-sink.ts";
import { peerCredentials } from "../linux/peer-credentials.ts";
import { Poller } from "../linux/poller.ts";
import { becomeSubreaper, forbidDumps } from "../linux/self.ts";
import { isInUserNamespace } from "../linux/user-namespace.ts";
import type { GrpcServer } from "../rpc/grpc/server.ts";
import { SharedTransport } from "../rpc/grpc/shared-transport.ts";
import { type MountedService, mountLazily, mountService, type Peer } from "../rpc/service.ts";
import { type BunAddress, listenBun } from "../rpc/ttrpc/bun.ts";
import { type Acceptor, TtrpcServer } from "../rpc/ttrpc/server.ts";
import type { Transport } from "../rpc/ttrpc/transport.ts";
import { CallHistory } from "../runtime/call-history.ts";
import { parseDeadlines } from "../runtime/deadlines.ts";
import { Runc } from "../runtime/runc.ts";
import type { InspectSources } from "../service/inspect.ts";
import { TaskService } from "../service/task.ts";
import type { TraceSources } from "../service/trace.ts";
import { noteAddress, removeOwnAddress } from "./address-file.ts";
import { LISTENER_FD } from "./daemon.ts";
import type { Invocation, Variables } from "./flags.ts";
import { guardProcess } from "./guard.ts";
import { checkIdentity } from "./identity.ts";
import { createLogger, type DaemonLog, lostLine } from "./log.ts";

/** How long answers and events may take to be taken at the end. */
const DRAIN_TIMEOUT_MS = 3000;
/** A shim that was told to end by a signal must not hold up the host (containers go on, the journal is kept). */
const PUBLISH_TIMEOUT_MS = 5000;
/** One that its manager has let go is in nobody's way: a manager that hangs may come to itself. */
const LINGER_TIMEOUT_MS = 30_000;
/** How long a shim without a connection waits for its first container. */
const UNUSED_TIMEOUT_MS = 120_000;
/** The same after its last one: whoever deleted that asks for the end, if at all, in the next moment. */
const EMPTIED_TIMEOUT_MS = 5000;
/** What the daemon is born with, for those who look at it. */
const OWN_DESCRIPTORS: ReadonlyMap<number, string> = new Map([
  [2, "log"],
  [LISTENER_FD, "listener"],
]);
/** The end that a manager asks for, when the last container is deleted. */
const ASKED = "asked by its manager";

/**
 * Serves until it is asked to end; returns the exit code. The working directory is the bundle.
 * `ended` resolves to the name of a signal that asks for the end.
 */
export async function serve(invocation: Invocation, ended: Promise<string>): Promise<number> {
  checkIdentity(invocation);
  const bundle = process.cwd();
  becomeSubreaper();
  // In a user namespace the kernel would take our own /proc directory from us.
  if (!isInUserNamespace()) forbidDumps();
  await using end = new AsyncDisposableStack();
  const sink = LogSink.open(2, lostLine);
  const log = openLog(sink, invocation);
  end.defer(() => log.flush());
  const { inheritance, variables } = invocation.environment;
  const environment = toEntries(variables);
  const poller = end.use(new Poller());
  const children = end.use(new Children({ poller, reapStrays: true, inheritance }));
  const { namespace } = invocation;
  const publisher = openPublisher(invocation, log);
  const stop = Promise.withResolvers<string>();
  const history = new CallHistory();
  const deadlines = parseDeadlines(invocation.environment.deadlines);
  const socket = invocation.socket || socketPath(LISTENER_FD);
  const eventObservers = new Set<(event: TaskEvent) => void>();
  const service = new TaskService({
    context: { poller, children, log, namespace },
    openRuntime: (taskBundle, options) => {
      if (socket !== undefined) noteAddress(taskBundle, socket);
      const runtime = toRuntimeOptions(options, { namespace, bundle: taskBundle, environment });
      return { runtime: new Runc(runtime, { children, history, deadlines }), root: runtime.root };
    },
    publish: publishTo(publisher, eventObservers),
    shutdown: () => stop.resolve(ASKED),
    onEmpty: () => unused.arm(EMPTIED_TIMEOUT_MS),
    log,
  });
  const services = [
    mountService(TaskDefinitionV2, service),
    mountService(TaskDefinitionV3, service),
    ...aboutItself({
      namespace,
      id: invocation.id,
      socket: socket ?? "",
      containers: () => service.containers,
      publisher,
      history,
      lostLogLines: () => sink.lost,
      descriptors: OWN_DESCRIPTORS,
      server: () => server,
      events: eventObservers,
    }),
  ];
  const server: TtrpcServer = new TtrpcServer({ services, log });
  const acceptor = openToGrpc(server, services, log);
  listenBun(acceptor, listenAddress(invocation), (fd) => admit(fd, log));
  end.use(guardProcess({ log, dump: () => describe(service, publisher, history) }));
  void ended.then(stop.resolve);
  const unused = end.use(
    watchUnused({
      isEmpty: () => service.size === 0,
      isIdle: () => server.connections.size === 0 && publisher.pending === 0,
      stop: () => stop.resolve("nobody uses it"),
    }),
  );
  log.debug("Serving", { pid: process.pid, namespace, id: invocation.id });
  const reason = await stop.promise;
  log.debug("Ending", { reason, containers: service.size });
  // While containers are left, waits for their ends are open and would not be answered in any time.
  await server.shutdown(service.size > 0 ? 0 : DRAIN_TIMEOUT_MS);
  if (socket !== undefined) removeTraces(bundle, socket);
  await publisher.stop(reason === ASKED ? LINGER_TIMEOUT_MS : PUBLISH_TIMEOUT_MS);
  return 0;
}

function openLog(sink: LogSink, { namespace, id, isDebug }: Invocation): DaemonLog {
  return createLogger({ sink, isDebug, fields: { namespace, id } });
}

/** What a shim tells of itself to those who ask, and what it does to those who watch; loaded by then. */
function aboutItself(
  sources: Omit<InspectSources, "connections"> & TraceSources,
): readonly MountedService[] {
  const connections = () => sources.server().connections;
  return [
    mountLazily("wedge.inspect.v1.Inspect", { Inspect: "unary" }, async () => {
      const { mountInspect } = await import("../service/inspect.ts");
      return mountInspect({ ...sources, connections });
    }),
    mountLazily("wedge.trace.v1.Trace", { Watch: "serverStream" }, async () => {
      const { mountTrace } = await import("../service/trace.ts");
      return mountTrace(sources);
    }),
  ];
}

/** Who speaks gRPC on the same socket is served too; nothing of it is loaded before somebody does. */
function openToGrpc(
  server: TtrpcServer,
  services: readonly MountedService[],
  log: Logger,
): Acceptor {
  let loaded: Promise<GrpcServer> | undefined;
  const load = async () => {
    const grpc = await import("../rpc/grpc/server.ts");
    return new grpc.GrpcServer(services);
  };
  const openSession = async (transport: Transport) => {
    loaded ??= load();
    return (await loaded).open(transport);
  };
  return {
    serve: (transport, peer) =>
      server.serve(new SharedTransport(transport, { openSession, log }), peer),
    addListener: (listener) => server.addListener(listener),
  };
}

function toEntries(variables: Variables): readonly string[] {
  return Object.entries(variables).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${value}`],
  );
}

function openPublisher({ namespace, environment }: Invocation, log: Logger): Publisher {
  const { ttrpcAddress } = environment;
  return new Publisher({
    namespace,
    connect: ttrpcAddress === "" ? undefined : () => connectEventSink(ttrpcAddress),
    log,
    store: new BundleJournals(process.cwd(), log),
  });
}

/** Watchers first: the journal may go to disk. */
function publishTo(publisher: Publisher, observers: TraceSources["events"]) {
  return (event: TaskEvent, bundle: string) => {
    for (const observe of observers) observe(event);
    publisher.publish(event, bundle);
  };
}

function listenAddress({ socket }: Invocation): BunAddress {
  return socket === "" ? { fd: LISTENER_FD } : { unix: socket };
}

/** Only the user that this shim runs as may call it, whatever the mode of the socket (unix(7)). */
function admit(fd: number, log: Logger): Peer | undefined {
  const peer = peerCredentials(fd);
  if (peer.uid === process.geteuid?.()) return peer;
  log.warn("Connection refused: it is another user's", { ...peer });
  return undefined;
}

/** What goes on, for SIGUSR1: containers with their processes, events that wait, calls of the runtime. */
function describe(service: TaskService, publisher: Publisher, history: CallHistory): string[] {
  return [
    ...service.describe(),
    `events pending=${publisher.pending} dropped=${publisher.dropped}`,
    ...history.list().map((call) => `runtime ${JSON.stringify(call)}`),
  ];
}

/**
 * Ends a shim that nobody knows any more: its manager died between `start` and Create, or between the
 * last Delete and Shutdown, or does not ask for the end of a pod whose sandbox went first (containerd
 * 2.0 to 2.2). Armed from the start; no timer runs while a container is there. Events that no manager
 * has taken yet keep it.
 */
function watchUnused(shim: {
  readonly isEmpty: () => boolean;
  readonly isIdle: () => boolean;
  readonly stop: () => void;
}): Disposable & { arm(delayMs: number): void } {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const arm = (delayMs: number) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (!shim.isEmpty()) return;
      if (shim.isIdle()) shim.stop();
      else arm(delayMs);
    }, delayMs);
  };
  arm(UNUSED_TIMEOUT_MS);
  return { arm, [Symbol.dispose]: () => clearTimeout(timer) };
}

/** Removes what `start` made for this shim, so that nothing tells of it when it is gone. */
function removeTraces(bundle: string, path: string): void {
  removeStaleSocket(path);
  removeOwnAddress(bundle, path);
}
