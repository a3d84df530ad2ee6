/**
 * Whether a live shim still answers for a task.
 *
 * containerd calls `delete` whenever the connection to a shim breaks, even when the shim lives on and
 * only the connection is gone. Nothing on disk tells the two apart for sure; asking the shim does.
 */

import { Status } from "../../gen/containerd/types/task/task.ts";
import { askTask } from "../../rpc/task-client.ts";
import { connectBun } from "../../rpc/ttrpc/bun.ts";

/** A healthy shim answers in a millisecond: `State` never waits for anything. */
const ANSWER_LIMIT_MS = 1500;

/**
 * Asks the shim at `socket` whether it has task `id` and the task has not ended. A shim that does not know
 * the task, is not there, or does not answer in time, is not the owner.
 */
export async function isTaskServed(socket: string, id: string): Promise<boolean> {
  const limit = AbortSignal.timeout(ANSWER_LIMIT_MS);
  const expired = Promise.withResolvers<false>();
  limit.addEventListener("abort", () => expired.resolve(false), { once: true });
  return await Promise.race([askState(socket, id, limit), expired.promise]);
}

async function askState(socket: string, id: string, signal: AbortSignal): Promise<boolean> {
  try {
    using client = await connectBun({ unix: socket });
    const request = { id, execId: "" };
    const { status } = await askTask(client, (task) => task.state(request, { signal }));
    return status !== Status.STOPPED;
  } catch {
    return false; // Nobody listens, or it does not know the task.
  }
}
