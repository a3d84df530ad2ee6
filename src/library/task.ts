/**
 * `wedge/task`: the Task API of any running v2 shim, and an events service for shims to talk to; for
 * programs, under Node 20 and later and under Bun.
 */

import { join } from "node:path";
import { ShimError } from "../base/error.ts";
import { parseSocketPath, readSocketPath } from "../bundle/address.ts";
import {
  TaskCheckpointed,
  TaskCreate,
  TaskDelete,
  TaskExecAdded,
  TaskExecStarted,
  TaskExit,
  TaskOOM,
  TaskPaused,
  TaskResumed,
  TaskStart,
} from "../gen/containerd/events/task.ts";
import { EventsDefinition } from "../gen/containerd/services/events/ttrpc/v1/events.ts";
import type { Envelope } from "../gen/containerd/types/event.ts";
import { decodeMessage, mountService } from "../rpc/service.ts";
import { findTask, type TaskClient, type TaskVersion } from "../rpc/task-client.ts";
import type { TtrpcClient } from "../rpc/ttrpc/client.ts";
import { connectNet, listenNet } from "../rpc/ttrpc/net.ts";
import { TtrpcServer } from "../rpc/ttrpc/server.ts";
import { typeNameOf } from "../rpc/type-name.ts";

const DEFAULT_STATE_DIRECTORY = "/run/containerd";
const BUNDLES = "io.containerd.runtime.v2.task";
/** A healthy shim answers Connect within a millisecond. */
const CONNECT_TIMEOUT_MS = 10_000;
const NANOSECONDS_PER_MILLISECOND = 1e6;

export type { TaskClient };

/** Which shim: by its socket (with or without `unix://`), or by the container that it serves. */
export type TaskPlace =
  | { readonly address: string }
  | {
      readonly namespace: string;
      readonly id: string;
      /** containerd's `state`; /run/containerd unless given. */
      readonly stateDirectory?: string;
    };

/** A connected shim. Disposing closes the connection. */
export interface TaskConnection extends Disposable {
  readonly task: TaskClient;
  /** Of the Task API that the shim serves. */
  readonly version: TaskVersion;
  /** For other services on the same socket. */
  readonly client: TtrpcClient;
}

/**
 * Connects to a shim and finds out which version of the Task API it serves.
 *
 * Rejects with RpcError `notFound` when the container has no shim that can be found, with node:net's
 * error (`ENOENT`, `ECONNREFUSED`, `EACCES`) when nobody listens, `deadlineExceeded` when the shim hangs.
 */
export async function connectTask(place: TaskPlace): Promise<TaskConnection> {
  const client = await connectNet({ path: socketOf(place) });
  try {
    const id = "id" in place ? place.id : "";
    const { task, version } = await findTask(client, { id, timeoutMs: CONNECT_TIMEOUT_MS });
    return { task, version, client, [Symbol.dispose]: () => client.close() };
  } catch (error) {
    client.close();
    throw error;
  }
}

function socketOf(place: TaskPlace): string {
  if ("address" in place) return parseSocketPath(place.address) ?? place.address;
  const { namespace, id, stateDirectory = DEFAULT_STATE_DIRECTORY } = place;
  const bundle = join(stateDirectory, BUNDLES, namespace, id);
  const path = readSocketPath(bundle);
  if (path !== undefined) return path;
  throw new ShimError(
    "notFound",
    `Cannot find the shim of ${namespace}/${id}: no address in ${bundle}`,
  );
}

/** What happened to a task, by the name of its message. */
export type TaskEventMessage =
  | { readonly name: "TaskCreate"; readonly message: TaskCreate }
  | { readonly name: "TaskStart"; readonly message: TaskStart }
  | { readonly name: "TaskExit"; readonly message: TaskExit }
  | { readonly name: "TaskDelete"; readonly message: TaskDelete }
  | { readonly name: "TaskOOM"; readonly message: TaskOOM }
  | { readonly name: "TaskPaused"; readonly message: TaskPaused }
  | { readonly name: "TaskResumed"; readonly message: TaskResumed }
  | { readonly name: "TaskExecAdded"; readonly message: TaskExecAdded }
  | { readonly name: "TaskExecStarted"; readonly message: TaskExecStarted }
  | { readonly name: "TaskCheckpointed"; readonly message: TaskCheckpointed };

/** One event as a shim has sent it. */
export interface TaskNotice {
  readonly namespace: string;
  /** "/tasks/exit". */
  readonly topic: string;
  readonly at: Date;
  /** Undefined for a message that is none of containerd's about tasks. */
  readonly event: TaskEventMessage | undefined;
}

/**
 * Serves containerd's events service at `path`, for shims that are started with `TTRPC_ADDRESS` set to
 * it. A shim takes an event for delivered when `onEvent` has returned, or what it returned has resolved;
 * when it throws, wedge sends the event again. Close the server with `shutdown` or by disposing it.
 * Rejects when the path cannot be listened on.
 */
export async function serveEvents(
  path: string,
  onEvent: (notice: TaskNotice) => void | Promise<void>,
): Promise<TtrpcServer> {
  const server = new TtrpcServer({
    services: [
      mountService(EventsDefinition, {
        forward: async ({ envelope }) => {
          if (envelope !== undefined) await onEvent(toNotice(envelope));
          return {};
        },
      }),
    ],
  });
  await listenNet(server, { path });
  return server;
}

function toNotice({ namespace, topic, timestamp, event }: Envelope): TaskNotice {
  const { seconds = 0n, nanos = 0 } = timestamp ?? {};
  const at = new Date(Number(seconds) * 1000 + nanos / NANOSECONDS_PER_MILLISECOND);
  return { namespace, topic, at, event: event && decodeEvent(event.typeUrl, event.value) };
}

const EVENT_PACKAGE = "containerd.events.";

/** The message in an event's `Any`; undefined when it is not a task event. Throws RpcError `internal` for broken bytes. */
export function decodeEvent(typeUrl: string, value: Uint8Array): TaskEventMessage | undefined {
  const fullName = typeNameOf(typeUrl);
  if (!fullName.startsWith(EVENT_PACKAGE)) return undefined;
  const name = fullName.slice(EVENT_PACKAGE.length);
  switch (name) {
    case "TaskCreate":
      return { name, message: decodeMessage(TaskCreate, value) };
    case "TaskStart":
      return { name, message: decodeMessage(TaskStart, value) };
    case "TaskExit":
      return { name, message: decodeMessage(TaskExit, value) };
    case "TaskDelete":
      return { name, message: decodeMessage(TaskDelete, value) };
    case "TaskOOM":
      return { name, message: decodeMessage(TaskOOM, value) };
    case "TaskPaused":
      return { name, message: decodeMessage(TaskPaused, value) };
    case "TaskResumed":
      return { name, message: decodeMessage(TaskResumed, value) };
    case "TaskExecAdded":
      return { name, message: decodeMessage(TaskExecAdded, value) };
    case "TaskExecStarted":
      return { name, message: decodeMessage(TaskExecStarted, value) };
    case "TaskCheckpointed":
      return { name, message: decodeMessage(TaskCheckpointed, value) };
    default:
      return undefined;
  }
}
