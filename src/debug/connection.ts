/** A connection to one shim of any make: the Task API in the version that it serves. */

import { hasReason, messageOf } from "../base/error.ts";
import { InspectDefinition, type InspectResponse } from "../gen/wedge/inspect/v1/inspect.ts";
import { findTask, type TaskClient, type TaskVersion } from "../rpc/task-client.ts";
import { connectBun } from "../rpc/ttrpc/bun.ts";
import type { TtrpcClient } from "../rpc/ttrpc/client.ts";
import { createStub } from "../rpc/ttrpc/stub.ts";
import type { HostShim } from "./host/shims.ts";
import { EXIT_FAILURE, EXIT_NOT_FOUND, EXIT_UNREACHABLE, Refusal } from "./refusal.ts";

/** For calls that a healthy shim answers at once. */
export const ANSWER_TIMEOUT_MS = 5000;

/** A connected shim. Disposing closes the connection. */
export interface ShimConnection extends Disposable {
  readonly client: TtrpcClient;
  readonly task: TaskClient;
  /** Of the Task API that the shim serves. */
  readonly taskVersion: TaskVersion;
}

/** Connects to a shim that was found. Throws a Refusal that says what to look at. */
export async function connectShim(shim: HostShim): Promise<ShimConnection> {
  if (shim.socket === undefined) {
    throw new Refusal(
      EXIT_UNREACHABLE,
      `The shim of ${shim.id} (process ${shim.process.pid}) listens on no socket that can be seen; look at its descriptors with: ls -l /proc/${shim.process.pid}/fd`,
    );
  }
  return await connectAddress(shim.root + shim.socket, shim.id);
}

/** Connects to the socket at `path`; `id` is any container, to find out the version. Throws a Refusal. */
export async function connectAddress(path: string, id: string): Promise<ShimConnection> {
  let client: TtrpcClient;
  try {
    client = await connectBun({ unix: path });
  } catch (cause) {
    throw new Refusal(
      EXIT_UNREACHABLE,
      `Nobody answers at ${path}: ${messageOf(cause)}; shim doctor finds what a dead shim left behind`,
      { cause },
    );
  }
  try {
    return await negotiate(client, path, id);
  } catch (error) {
    client.close();
    throw error;
  }
}

async function negotiate(client: TtrpcClient, path: string, id: string): Promise<ShimConnection> {
  try {
    const { task, version } = await findTask(client, { id, timeoutMs: ANSWER_TIMEOUT_MS });
    return { client, task, taskVersion: version, [Symbol.dispose]: () => client.close() };
  } catch (error) {
    throw unanswered(`The shim at ${path}`, error);
  }
}

/**
 * Asks a shim what it knows and does; `id` narrows the answer to one container. Undefined when it has
 * no such service: only wedge does. Throws a Refusal when it does not answer.
 */
export async function askInspect(
  { client }: ShimConnection,
  id: string,
): Promise<InspectResponse | undefined> {
  try {
    const stub = createStub(client, InspectDefinition);
    return await stub.inspect({ id }, { timeoutMs: ANSWER_TIMEOUT_MS });
  } catch (error) {
    if (hasReason(error, "unimplemented")) return undefined;
    throw unanswered("The shim", error);
  }
}

/** The Refusal for a call that failed within `limitMs`; `what` says which: "Cannot pause web". */
export function callFailure(what: string, error: unknown, limitMs = ANSWER_TIMEOUT_MS): Refusal {
  if (hasReason(error, "notFound")) {
    return new Refusal(EXIT_NOT_FOUND, `${what}: ${messageOf(error)}`, { cause: error });
  }
  if (isUnanswered(error)) return unanswered(`${what}: the shim`, error, limitMs);
  return new Refusal(EXIT_FAILURE, `${what}: ${messageOf(error)}`, { cause: error });
}

function unanswered(who: string, error: unknown, limitMs = ANSWER_TIMEOUT_MS): Refusal {
  const why = hasReason(error, "deadlineExceeded")
    ? `does not answer within ${limitMs / 1000} s; SIGUSR1 makes it log what it does`
    : `has closed the connection: ${messageOf(error)}`;
  return new Refusal(EXIT_UNREACHABLE, `${who} ${why}`, { cause: error });
}

function isUnanswered(error: unknown): boolean {
  return hasReason(error, "unavailable") || hasReason(error, "deadlineExceeded");
}
