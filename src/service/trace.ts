/**
 * The Trace service: what a shim does, record by record, for those who watch. Loaded on the first call.
 *
 * Nobody waits for a watcher: what it does not take is counted and dropped.
 */

import type { TaskEvent } from "../event/task-event.ts";
import { TaskDefinition } from "../gen/containerd/task/v2/task.ts";
import {
  TraceDefinition,
  type TraceRecord,
  type WatchRequest,
} from "../gen/wedge/trace/v1/trace.ts";
import {
  type CallContext,
  type MethodDefinition,
  type MountedService,
  mountService,
} from "../rpc/service.ts";
import { statusOf } from "../rpc/status.ts";
import type { TtrpcServer } from "../rpc/ttrpc/server.ts";
import type { CallObserver, ServerCall } from "../rpc/ttrpc/server-call.ts";
import type { CallHistory, HistoryObserver } from "../runtime/call-history.ts";

/** Records that wait for one watcher. */
const QUEUE_LENGTH_MAX = 4096;
/** Longer requests and answers are left out of their record. */
const BODY_BYTES_MAX = 64 * 1024;
const MICROSECONDS_PER_MILLISECOND = 1000;
const NO_BYTES = new Uint8Array(0);

/** What can be watched. Each is a set of observers, empty as long as nobody watches. */
export interface TraceSources {
  /** The shim's own. */
  readonly pid: number;
  readonly namespace: string;
  readonly server: () => TtrpcServer;
  readonly history: CallHistory;
  readonly events: Set<(event: TaskEvent) => void>;
}

/** The service, ready to be mounted. */
export function mountTrace(sources: TraceSources): MountedService {
  return mountService(TraceDefinition, {
    watch: (request, context) => watch(sources, request, context),
  });
}

async function* watch(
  sources: TraceSources,
  { id }: WatchRequest,
  context: CallContext,
): AsyncGenerator<TraceRecord> {
  const queue = new RecordQueue();
  queue.push({ watching: { shimPid: sources.pid, namespace: sources.namespace } });
  using _observers = observe(sources, queue, { id, watcher: context });
  const onAbort = () => queue.end();
  context.signal.addEventListener("abort", onAbort, { once: true });
  for (;;) {
    const record = await queue.next();
    if (record === undefined) return;
    yield record;
  }
}

type What = Omit<TraceRecord, "atUs">;

/** A bounded queue with one reader. */
class RecordQueue {
  readonly #records: TraceRecord[] = [];
  #lost = 0;
  #hasEnded = false;
  #wake: (() => void) | undefined;

  push(what: What): void {
    if (this.#records.length >= QUEUE_LENGTH_MAX) {
      this.#lost++;
      return;
    }
    if (this.#lost > 0) this.#records.push(stamp({ lost: BigInt(this.#lost) }));
    this.#lost = 0;
    this.#records.push(stamp(what));
    this.#wake?.();
  }

  end(): void {
    this.#hasEnded = true;
    this.#wake?.();
  }

  /** The next record; undefined at the end. */
  async next(): Promise<TraceRecord | undefined> {
    while (this.#records.length === 0 && !this.#hasEnded) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
      this.#wake = undefined;
    }
    return this.#hasEnded ? undefined : this.#records.shift();
  }
}

function stamp(what: What): TraceRecord {
  const atMs = performance.timeOrigin + performance.now();
  return { atUs: BigInt(Math.round(atMs * MICROSECONDS_PER_MILLISECOND)), ...what };
}

interface Filter {
  /** "" is every container. */
  readonly id: string;
  /** The watcher's own call, which is not worth a record. */
  readonly watcher: CallContext;
}

/** Puts what happens into `queue` until disposed. */
function observe(sources: TraceSources, queue: RecordQueue, filter: Filter): Disposable {
  const calls = callObserver(queue, filter);
  const runtime = runtimeObserver(queue, filter);
  const onEvent = ({ topic, event }: TaskEvent) => queue.push({ event: { topic, event } });
  const server = sources.server();
  server.observers.add(calls);
  sources.history.observers.add(runtime);
  sources.events.add(onEvent);
  return {
    [Symbol.dispose]: () => {
      server.observers.delete(calls);
      sources.history.observers.delete(runtime);
      sources.events.delete(onEvent);
    },
  };
}

function callObserver(queue: RecordQueue, { id, watcher }: Filter): CallObserver {
  const keys = new Map<ServerCall, bigint>();
  let count = 0n;
  const end = (call: ServerCall, ended: { code: number; message: string; answer: Uint8Array }) => {
    const key = keys.get(call);
    if (key === undefined) return; // It began before the watch, or is about something else.
    keys.delete(call);
    const { code, message, answer } = ended;
    const response = bounded(answer);
    queue.push({ callEnded: { key, code, message, response, responseLength: answer.length } });
  };
  return {
    callBegan: (call) => {
      if (call === watcher || !isAbout(call, id)) return;
      const key = ++count;
      keys.set(call, key);
      const { service, method, peer, request } = call;
      const { payload } = request;
      const lengths = { request: bounded(payload), requestLength: payload.length };
      queue.push({ callBegan: { key, service, method, peerPid: peer.pid ?? 0, ...lengths } });
    },
    callAnswered: (call, answer) => end(call, { code: 0, message: "", answer }),
    callFailed: (call, error) => end(call, { ...statusOf(error), answer: NO_BYTES }),
  };
}

function runtimeObserver(queue: RecordQueue, filter: Filter): HistoryObserver {
  const isMeant = ({ id }: { readonly id: string }) => filter.id === "" || id === filter.id;
  return {
    began: (call) => {
      if (!isMeant(call)) return;
      const { pid, verb, id } = call;
      queue.push({ runtimeBegan: { pid, verb, id } });
    },
    ended: (call) => {
      if (!isMeant(call)) return;
      const { pid, status, error } = call;
      queue.push({ runtimeEnded: { pid, exitStatus: status, error } });
    },
  };
}

function bounded(bytes: Uint8Array): Uint8Array {
  return bytes.length > BODY_BYTES_MAX ? NO_BYTES : bytes;
}

/** Whether a call of the Task API names the container; calls of other services are about the shim. */
function isAbout(call: ServerCall, id: string): boolean {
  if (id === "") return true;
  const methods: readonly MethodDefinition[] = Object.values(TaskDefinition.methods);
  const definition = methods.find(({ name }) => name === call.method);
  if (definition === undefined || !call.service.endsWith(".Task")) return true;
  try {
    const message: unknown = definition.requestType.decode(call.request.payload);
    return typeof message === "object" && message !== null && Reflect.get(message, "id") === id;
  } catch {
    return true; // Malformed: worth seeing.
  }
}
