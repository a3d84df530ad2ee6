/**
 * The Inspect service: what a shim knows and does, as one message. Loaded on the first call.
 *
 * Everything is read from memory and from /proc/self; nothing is waited for, changed or kept.
 */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import type { Container } from "../container/container.ts";
import type { TaskProcess } from "../container/process.ts";
import type { Publisher } from "../event/publisher.ts";
import { TaskDefinition } from "../gen/containerd/task/v2/task.ts";
import {
  type Call,
  type Connection,
  type Descriptor,
  InspectDefinition,
  type Container as InspectedContainer,
  type InspectRequest,
  type InspectResponse,
  type Process,
  type RuntimeCall,
} from "../gen/wedge/inspect/v1/inspect.ts";
import {
  type CallContext,
  type MethodDefinition,
  type MountedService,
  mountService,
} from "../rpc/service.ts";
import type { ServerConnection } from "../rpc/ttrpc/server-connection.ts";
import type { CallHistory, RuntimeCall as RecordedCall } from "../runtime/call-history.ts";
import { revision, version } from "../version.ts";

/** Where the parts of an answer come from. Everything is queried anew for each answer. */
export interface InspectSources {
  /** The shim's own. */
  readonly pid: number;
  readonly namespace: string;
  /** Of the task that the shim was started for. */
  readonly id: string;
  readonly socket: string;
  readonly containers: () => Iterable<Container>;
  readonly connections: () => Iterable<ServerConnection>;
  readonly publisher: Publisher;
  readonly history: CallHistory;
  /** Log lines lost since the last one written. */
  readonly lostLogLines: () => number;
  /** Descriptors of the shim itself, and what they are for. */
  readonly descriptors: ReadonlyMap<number, string>;
}

/** The service, ready to be mounted. */
export function mountInspect(sources: InspectSources): MountedService {
  return mountService(InspectDefinition, {
    inspect: (request, context) => inspect(sources, request, context),
  });
}

function inspect(
  sources: InspectSources,
  { id }: InspectRequest,
  context: CallContext,
): InspectResponse {
  const isMeant = (about: { readonly id: string }) => id === "" || about.id === id;
  const all = [...sources.containers()];
  const { publisher, namespace, socket } = sources;
  return {
    shim: {
      pid: sources.pid,
      namespace,
      id: sources.id,
      version,
      revision,
      socket,
      executingSinceMs: BigInt(Math.round(performance.timeOrigin)),
    },
    containers: all.filter(isMeant).map(toContainer),
    calls: toCalls(sources.connections(), context).filter(isMeant),
    runtimeCalls: sources.history.list().map(toRuntimeCall).filter(isMeant),
    connections: [...sources.connections()].map(toConnection),
    descriptors: readDescriptors(nameDescriptors(sources, all), namePids(all)),
    journal: {
      pending: BigInt(publisher.pending),
      dropped: BigInt(publisher.dropped),
      hasNoManager: !publisher.hasManager,
    },
    log: { dropped: BigInt(sources.lostLogLines()) },
  };
}

function toContainer(container: Container): InspectedContainer {
  return {
    id: container.id,
    bundle: container.bundle.path,
    processes: processesOf(container).map(toProcess),
    oomKilled: container.wasOomKilled,
  };
}

function processesOf({ init, execs }: Container): readonly TaskProcess[] {
  return [init, ...execs];
}

function toProcess(process: TaskProcess): Process {
  const { id, pid, status, paths, termination, waiters } = process;
  return {
    id,
    pid,
    status,
    ...paths,
    exit: termination && {
      status: termination.status,
      signal: termination.signal,
      atMs: BigInt(Math.round(termination.atMs)),
    },
    waiters,
    droppedBytes: BigInt(process.stdio?.lostBytes ?? 0),
  };
}

/** All calls in flight but the one that asks, oldest first. */
function toCalls(connections: Iterable<ServerConnection>, asking: CallContext): Call[] {
  const calls = [...connections].flatMap(({ calls: own }) =>
    [...own].filter((call) => call !== asking),
  );
  return calls
    .sort((a, b) => b.ageMs - a.ageMs)
    .map((call) => ({
      service: call.service,
      method: call.method,
      ...readSubject(call.method, call.request.payload),
      ageMs: BigInt(Math.round(call.ageMs)),
      remainingMs:
        call.deadlineMs === undefined
          ? undefined
          : BigInt(Math.round(call.deadlineMs - performance.now())),
      peerPid: call.peer.pid ?? 0,
    }));
}

/** The container and the exec that a request of the Task API is about. */
function readSubject(method: string, payload: Uint8Array): { id: string; execId: string } {
  const methods: readonly MethodDefinition[] = Object.values(TaskDefinition.methods);
  const definition = methods.find(({ name }) => name === method);
  try {
    const fields = new Map(Object.entries(definition?.requestType.decode(payload) ?? {}));
    return { id: String(fields.get("id") ?? ""), execId: String(fields.get("execId") ?? "") };
  } catch {
    return { id: "", execId: "" }; // For another service, or malformed: its call has failed already.
  }
}

function toRuntimeCall(call: RecordedCall): RuntimeCall {
  return {
    verb: call.verb,
    id: call.id,
    pid: call.pid,
    startedAtMs: BigInt(Math.round(call.startedAtMs)),
    durationMs: call.durationMs === undefined ? undefined : BigInt(Math.round(call.durationMs)),
    exitStatus: call.status,
    error: call.error,
  };
}

function toConnection({ peer, calls }: ServerConnection): Connection {
  return { peerPid: peer.pid ?? 0, peerUid: peer.uid ?? 0, calls: [...calls].length };
}

/** What the descriptors of this shim are for, as their owners name them. */
function nameDescriptors(
  sources: InspectSources,
  containers: readonly Container[],
): ReadonlyMap<number, string> {
  const names = new Map(sources.descriptors);
  for (const { fd, peer } of sources.connections()) {
    if (fd !== undefined) names.set(fd, `connection of process ${peer.pid ?? "?"}`);
  }
  for (const container of containers) {
    for (const process of processesOf(container)) {
      for (const { name, fd } of process.stdio?.descriptors() ?? []) {
        names.set(fd, `${process.id} ${name}`);
      }
    }
  }
  return names;
}

function namePids(containers: readonly Container[]): ReadonlyMap<number, string> {
  return new Map(
    containers.flatMap((container) =>
      processesOf(container).map((process) => [process.pid, process.id] as const),
    ),
  );
}

/** Every open descriptor of this process, by number. */
function readDescriptors(
  names: ReadonlyMap<number, string>,
  idOfPid: ReadonlyMap<number, string>,
): Descriptor[] {
  return readdirSync("/proc/self/fd")
    .map(Number)
    .sort((a, b) => a - b)
    .flatMap((number) => {
      const target = readTarget(number);
      if (target === undefined) return [];
      return [{ number, target, name: names.get(number) ?? nameOfPidfd(number, target, idOfPid) }];
    });
}

/** Undefined for one that has been closed meanwhile: the one used for this very listing. */
function readTarget(number: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${number}`);
  } catch {
    return undefined;
  }
}

/** "exit of web" for a pidfd, by the process that it stands for; "" for anything else. */
function nameOfPidfd(number: number, target: string, idOfPid: ReadonlyMap<number, string>): string {
  if (!target.includes("pidfd")) return "";
  try {
    const pid = Number(
      /^Pid:\s*(-?\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${number}`, "utf8"))?.[1],
    );
    return `exit of ${idOfPid.get(pid) ?? `process ${pid}`}`;
  } catch {
    return "";
  }
}
