/**
 * Whether a live shim still answers for a task.
 *
 * containerd calls `delete` whenever the connection to a shim breaks, also when the shim lives on and
 * only the connection is gone. Nothing on disk tells the two apart for sure; asking the shim does.
 */

import { ShimError } from "../base/error.ts";
import { TaskDefinition as TaskV2Definition } from "../gen/containerd/task/v2/task.ts";
import { TaskDefinition as TaskV3Definition } from "../gen/containerd/task/v3/task.ts";
import { Status } from "../gen/containerd/types/task/task.ts";
import { connectBun } from "../rpc/ttrpc/bun.ts";
import { createStub } from "../rpc/ttrpc/stub.ts";

/** A healthy shim answers in a millisecond: `State` never waits for anything. */
const ANSWER_LIMIT_MS = 1500;

/**
 * Asks the shim at `socket` whether it has task `id` and the task has not ended. A shim that knows no
 * such task, is not there, or does not answer in time, is no owner.
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
    for (const definition of [TaskV3Definition, TaskV2Definition]) {
      try {
        const { status } = await createStub(client, definition).state(
          { id, execId: "" },
          { signal },
        );
        return status !== Status.STOPPED;
      } catch (error) {
        // An older shim: ask it in the older words.
        if (!(error instanceof ShimError && error.reason === "unimplemented")) return false;
      }
    }
    return false;
  } catch {
    return false; // Nobody listens.
  }
}
