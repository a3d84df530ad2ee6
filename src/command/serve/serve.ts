/**
 * `serve`: the shim itself, and the composition root. Every long-lived object is made here and passed to
 * those that need it; nothing is wired anywhere else.
 *
 * It ends when containerd asks (Shutdown with no container left), on SIGTERM or SIGINT (containers go
 * on), or when it has no container and nobody is connected. Containers are never killed from here.
 */

import { existsSync } from "node:fs";
import { messageOf } from "../../base/error.ts";
import { within } from "../../base/limit.ts";
import type { Logger } from "../../base/log.ts";
import { toEntries } from "../../base/variables.ts";
import type { ProcessContext } from "../../container/context.ts";
import { toRuntimeOptions } from "../../container/runtime-options.ts";
import { connectEventsService } from "../../event/events-service.ts";
import { BundleJournals } from "../../event/journal-file.ts";
import { Publisher } from "../../event/publisher.ts";
import type { TaskEvent } from "../../event/task-event.ts";
import { aged } from "../../handoff/aging.ts";
import { Arrival } from "../../handoff/arrival.ts";
import { enterDirectory } from "../../handoff/departure.ts";
import { type HandoffDocument, toJournalState } from "../../handoff/document.ts";
import type { Mover } from "../../handoff/mover.ts";
import { HandoffService } from "../../handoff/service.ts";
import type { ShimParts } from "../../handoff/snapshot.ts";
import { HANDOFF_VARIABLES } from "../../handoff/variables.ts";
import { CgroupLock } from "../../linux/cgroup-lock.ts";
import { Children } from "../../linux/children.ts";
import { monotonicMs } from "../../linux/clock.ts";
import { writeFd } from "../../linux/fd.ts";
import { restoreBacklog, socketPath } from "../../linux/listener.ts";
import { LogSink } from "../../linux/log-sink.ts";
import { Poller } from "../../linux/poller.ts";
import { becomeSubreaper, forbidDumps, ownPid } from "../../linux/self.ts";
import {
  IDLE_SIGNALS,
  ignoreSignals,
  SIGCHLD,
  SignalWatch,
  signalName,
  unblockSignals,
} from "../../linux/signals.ts";
import { isInUserNamespace } from "../../linux/user-namespace.ts";
import { inheritBun, listenBun } from "../../rpc/ttrpc/bun.ts";
import type { Acceptor } from "../../rpc/ttrpc/server.ts";
import {
  hasBegun,
  peerOf,
  type ServerConnectionState,
} from "../../rpc/ttrpc/server-connection-state.ts";
import type { Transport } from "../../rpc/ttrpc/transport.ts";
import { CallHistory } from "../../runtime/call-history.ts";
import { parseDeadlines } from "../../runtime/deadlines.ts";
import { scrubEnvironment } from "../../runtime/environment.ts";
import { Runc } from "../../runtime/runc.ts";
import { hasEnded } from "../../service/lost.ts";
import { TaskService } from "../../service/task.ts";
import type { TraceSources } from "../../service/trace.ts";
import { executableName } from "../../version.ts";
import { HEEDED_SIGNALS } from "../invocation/daemon-settings.ts";
import { inheritanceEntries } from "../invocation/environment.ts";
import { checkIdentity } from "../invocation/identity.ts";
import type { Invocation } from "../invocation/invocation.ts";
import { Admission } from "./admission.ts";
import { dumpLines } from "./dump.ts";
import { type Guard, guardProcess } from "./guard.ts";
import { openListener } from "./listening-socket.ts";
import { createLogger, type DaemonLog, lostLine } from "./log.ts";
import { LostWatch } from "./lost-watch.ts";
import { openMover } from "./open-mover.ts";
import { openServer } from "./open-server.ts";
import { PublishedAddress, withdrawal } from "./published-address.ts";
import { type ShimUse, UnusedWatch } from "./unused.ts";

/** How long it may take, at the end, until answers and events are taken. */
const DRAIN_TIMEOUT_MS = 3000;
/** A shim that is ended by a signal must not hold up the host (containers go on, the journal is kept). */
const PUBLISH_TIMEOUT_MS = 5000;
/** Exits that have been seen, and the undoing of what was given up: a runtime may still be at work. */
const HURRY_TIMEOUT_MS = 2000;
/** One that its manager has let go is in nobody's way, and a manager that hangs may recover. */
const LINGER_TIMEOUT_MS = 30_000;
/** How soon a shim that could not be restored is tried again. */
const RETRY_MS = 1000;
/** The end that a manager asks for, when the last container is deleted. */
const ASKED = "asked by its manager";

/**
 * Serves until it is asked to end; returns whether its manager has asked, and nothing is left or has failed.
 * The working directory is the bundle. `ended` resolves to the name of a signal that asks for the end.
 * `listener` is the socket that `start` opened, if it ran before.
 */
export async function serve(
  invocation: Invocation,
  ended: Promise<string>,
  listener?: number,
): Promise<boolean> {
  checkIdentity(invocation);
  const arrival = Arrival.find(invocation.environment.variables);
  becomeSubreaper();
  ignoreSignals(IDLE_SIGNALS);
  // In a user namespace the kernel would hide our own /proc directory from us.
  if (!isInUserNamespace()) forbidDumps();
  using unserved = new DisposableStack();
  if (listener !== undefined) unserved.defer(withdrawal(listener));
  await using end = new AsyncDisposableStack();
  const stop = Promise.withResolvers<string>();
  void ended.then(stop.resolve);
  const ending = new AbortController();
  const { shim, inherited } = assemble(invocation, {
    ...{ arrival, end, stop: stop.resolve, ending: ending.signal, listener },
  });
  const { service, server, publisher, log } = shim;
  const cause = shim.document?.cause.kind;
  log.debug("Serving", { pid: ownPid(), id: invocation.id, cause, wakers: arrival?.wakers });
  const refusal = arrival?.refusal;
  if (refusal !== undefined) log.warn("The new program gave the shim back", { error: refusal });
  // In this turn of the event loop: as long as the previous program can still come back, nothing that was
  // handed over has been used.
  arrival?.finish();
  begin(shim, inherited);
  unserved.move();
  const reason = await stop.promise;
  log.debug("Ending", { reason, containers: service.size });
  shim.mover[Symbol.dispose]();
  // A runtime that went on without us would have no deadline.
  ending.abort();
  // Their waiters are still there, and the journal is still open.
  await within(service.hurry(), HURRY_TIMEOUT_MS);
  // Before a connection ends, which makes a manager run `delete`.
  server.stopAccepting();
  shim.address.withdrawAll();
  // While containers are left, Waits for them are open and would never be answered.
  await server.shutdown(service.size > 0 ? 0 : DRAIN_TIMEOUT_MS);
  await publisher.stop(reason === ASKED ? LINGER_TIMEOUT_MS : PUBLISH_TIMEOUT_MS);
  return reason === ASKED && publisher.pending === 0 && !shim.guard.hasReported;
}

interface Shim extends ShimParts {
  /** What takes new connections. */
  readonly acceptor: Acceptor;
  readonly mover: Mover;
  readonly log: DaemonLog;
  readonly guard: Guard;
  /** What the previous program has left. */
  readonly document: HandoffDocument | undefined;
  readonly address: PublishedAddress;
}

interface Surroundings {
  readonly arrival: Arrival | undefined;
  /** Owns what ends with the shim. */
  readonly end: AsyncDisposableStack;
  readonly stop: (reason: string) => void;
  /** Aborts when the shim is to end. */
  readonly ending: AbortSignal;
  readonly listener: number | undefined;
}

/** Builds the shim from what the previous program has left; what cannot be used goes back to that program. */
function assemble(
  invocation: Invocation,
  surroundings: Surroundings,
): { readonly shim: Shim; readonly inherited: readonly Inherited[] } {
  const { arrival } = surroundings;
  try {
    const document = arrival?.read();
    const present = document === undefined ? undefined : aged(document, monotonicMs());
    const shim = build(invocation, present, surroundings);
    return { shim, inherited: openDoors(shim) };
  } catch (error) {
    if (arrival === undefined) throw error;
    if (arrival.refusal !== messageOf(error)) complain(error);
    // Its own program: nobody else can take the shim, and its containers are better off waiting than without it.
    if (arrival.refusal !== undefined) Bun.sleepSync(RETRY_MS);
    return arrival.goBack(error);
  }
}

/** Says in the shim's log why it cannot go on; nothing where the log is full, as nobody is served meanwhile. */
function complain(error: unknown): void {
  try {
    writeFd(2, Buffer.from(`${executableName}: cannot go on yet: ${messageOf(error)}\n`));
  } catch {
    // Nobody reads it.
  }
}

/** Makes every object of the shim. Nothing that was handed over is used yet. */
function build(
  invocation: Invocation,
  document: HandoffDocument | undefined,
  { arrival, end, stop, ending, listener: opened }: Surroundings,
): Shim {
  if (document !== undefined) enterDirectory(document.directory);
  const directory = document?.directory ?? process.cwd();
  const sink = LogSink.open(2, lostLine, document?.lostLogLines);
  const log = openLog(invocation, sink);
  end.defer(() => log.flush());
  const { inheritance, variables, deadlines } = invocation.environment;
  const poller = end.use(new Poller());
  const children = end.use(new Children({ poller, reapStrays: true, inheritance }));
  const context = contextOf(invocation, { poller, children, log });
  const { namespace, environment } = context;
  const history = new CallHistory();
  const cgroupLock = new CgroupLock(children);
  const calls = { children, history, deadlines: parseDeadlines(deadlines), cgroupLock, ending };
  const listener = document?.listener ?? opened ?? openListener(invocation);
  const address = new PublishedAddress({ bundle: directory, socket: socketPath(listener), log });
  const eventObservers = new Set<(event: TaskEvent) => void>();
  const service = new TaskService({
    shimPid: ownPid(),
    context,
    openRuntime: (bundle, options) => {
      // One that was handed over may have lost its bundle.
      address.publish(bundle);
      const runtime = toRuntimeOptions(options, { namespace, bundle, environment });
      return { runtime: new Runc(runtime, calls), root: runtime.root };
    },
    publish: publishTo(() => publisher, eventObservers),
    onCreating: () => publisher.prepare(),
    shutdown: () => {
      // Before the answer: whoever gets it may run `delete`, or start a shim at the same address.
      server.stopAccepting();
      address.withdrawAll();
      stop(ASKED);
    },
    onDeleted: (bundle) => address.withdraw(bundle),
    onEmpty: () => unused.emptied(),
    log,
  });
  if (document !== undefined) service.restore(document.task);
  const publisher = openPublisher(invocation, log, document);
  const sources = { service, publisher, history, sink, listener, log, events: eventObservers };
  const handoff = new HandoffService(() => mover, passageOf(document, arrival));
  const { server, acceptor } = openServer(invocation, handoff, sources);
  const guard = end.use(guardProcess({ log, dump: () => dumpLines(service, publisher, history) }));
  // To those who listen for the signal in the usual way.
  const signals = end.use(
    new SignalWatch(poller, HEEDED_SIGNALS, (signal) => process.emit(signalName(signal))),
  );
  const unused = watchUse({ service, server, publisher, directory }, { eventObservers, end, stop });
  const parts = {
    service,
    publisher,
    server,
    children,
    poller,
    signals,
    sink,
    listener,
    directory,
  };
  const env = [...toEntries(variables, HANDOFF_VARIABLES), ...inheritanceEntries(inheritance)];
  const mover = end.use(openMover(parts, { invocation, log, env, document, arrival }));
  return { ...parts, acceptor, mover, log, guard, document, address };
}

/** How the previous program was left, where somebody may have asked for it. */
function passageOf(document: HandoffDocument | undefined, arrival: Arrival | undefined) {
  if (document === undefined || document.cause.kind === "sleep") return undefined;
  return { pausedAtMs: document.cause.pausedAtMs, refusal: arrival?.refusal };
}

/** A connection that is not read yet, and where it stood. */
interface Inherited {
  readonly transport: Transport;
  readonly state: ServerConnectionState;
}

/** Opens what clients come in by. Before the event loop turns again nothing is accepted or read. */
function openDoors({ server, acceptor, log, listener, document }: Shim): readonly Inherited[] {
  const inherited = (document?.connections ?? []).flatMap((state) => {
    try {
      return [{ transport: inheritBun(state.fd), state }];
    } catch (error) {
      log.error("A connection is lost", { fd: state.fd, error: messageOf(error) });
      return [];
    }
  });
  const admission = new Admission(() => server.connections.size, log);
  listenBun(acceptor, { fd: listener }, (fd) => admission.admit(fd));
  restoreBacklog(listener);
  return inherited;
}

/** Puts the shim to work: from here on there is no way back. */
function begin(shim: Shim, inherited: readonly Inherited[]): void {
  const { server, acceptor, children, log, mover } = shim;
  for (const { transport, state } of inherited) {
    try {
      // Where a client has not begun to say anything, it may be in another protocol.
      if (hasBegun(state)) server.adopt(transport, state);
      else acceptor.serve(transport, peerOf(state));
    } catch (error) {
      log.error("A connection is lost", { fd: state.fd, error: messageOf(error) });
      transport.destroy();
    }
  }
  // What died while nobody listened, and what dies from now on.
  children.reap();
  unblockSignals([SIGCHLD]);
  mover.start();
}

function openLog({ namespace, id, isDebug }: Invocation, sink: LogSink): DaemonLog {
  return createLogger({ sink, isDebug, fields: { namespace, id } });
}

function openPublisher(
  { namespace, environment }: Invocation,
  log: Logger,
  document: HandoffDocument | undefined,
): Publisher {
  const { ttrpcAddress } = environment;
  return new Publisher({
    namespace,
    connect: ttrpcAddress === "" ? undefined : () => connectEventsService(ttrpcAddress),
    log,
    store: new BundleJournals(document?.directory ?? process.cwd(), log),
    ...(document !== undefined && { journal: toJournalState(document.journal) }),
  });
}

/** Watchers first: publishing may write the journal to disk. */
function publishTo(publisher: () => Publisher, observers: TraceSources["events"]) {
  return (event: TaskEvent, bundle: string) => {
    for (const observe of observers) observe(event);
    publisher().publish(event, bundle);
  };
}

function contextOf(
  { namespace, environment: { variables } }: Invocation,
  own: Pick<ProcessContext, "poller" | "children" | "log">,
): ProcessContext {
  const environment = scrubEnvironment(toEntries(variables, HANDOFF_VARIABLES));
  return { ...own, namespace, environment, runtimeDir: variables["XDG_RUNTIME_DIR"] };
}

/** Ends the shim when nobody will ask it to. */
function watchUse(
  parts: Pick<ShimParts, "service" | "server" | "publisher" | "directory">,
  {
    eventObservers,
    end,
    stop,
  }: Pick<Surroundings, "end" | "stop"> & {
    readonly eventObservers: Set<(event: TaskEvent) => void>;
  },
): UnusedWatch {
  const { service } = parts;
  const unused = end.use(new UnusedWatch({ ...useOf(parts), stop }));
  const lost = end.use(
    new LostWatch({
      hasEnded: () => hasEnded(service.containers),
      forgetLost: () => void service.forgetLost(),
    }),
  );
  // What could not be made is not told about.
  eventObservers.add(() => {
    unused.used();
    lost.noteEvent();
  });
  return unused;
}

/** Who uses a shim, as far as that can be seen. */
function useOf({
  service,
  server,
  publisher,
  directory,
}: Pick<ShimParts, "service" | "server" | "publisher" | "directory">): Omit<ShimUse, "stop"> {
  return {
    isEmpty: () => service.size === 0,
    hasEvents: () => publisher.pending > 0,
    isConnected: () => server.connections.size > 0,
    isCalled: () => [...server.connections].some(({ calls }) => [...calls].length > 0),
    received: () => server.received,
    hasBundle: () => existsSync(directory),
  };
}
