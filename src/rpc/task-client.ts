/** The Task API of any v2 shim, in the version that it serves. */

import { hasReason, ShimError } from "../base/error.ts";
import { TaskDefinition as TaskV2 } from "../gen/containerd/task/v2/task.ts";
import { TaskDefinition as TaskV3 } from "../gen/containerd/task/v3/task.ts";
import type { TtrpcClient } from "./ttrpc/client.ts";
import { createStub, type Stub } from "./ttrpc/stub.ts";

/** Every method of the Task API; versions 2 and 3 have the same messages. */
export type TaskClient = Stub<typeof TaskV2>;

/** A version of the Task API. */
export type TaskVersion = 2 | 3;

/**
 * Calls `ask` with the newest version, and once more with the older one when the shim does not know the
 * newer. Rejects as the last `ask` does.
 */
export async function askTask<Answer>(
  client: TtrpcClient,
  ask: (task: TaskClient, version: TaskVersion) => Promise<Answer>,
): Promise<Answer> {
  try {
    return await ask(createStub(client, TaskV3), 3);
  } catch (error) {
    if (!hasReason(error, "unimplemented")) throw error;
    return await ask(createStub(client, TaskV2), 2);
  }
}

/**
 * Finds out which version a shim serves; `id` is any container. Rejects with `unavailable` or
 * `deadlineExceeded` when the shim does not answer.
 */
export async function findTask(
  client: TtrpcClient,
  { id, timeoutMs }: { readonly id: string; readonly timeoutMs: number },
): Promise<{ readonly task: TaskClient; readonly version: TaskVersion }> {
  return await askTask(client, async (task, version) => {
    try {
      await task.connect({ id }, { timeoutMs });
    } catch (error) {
      // Any other answer will do: the service is there, though it may have lost its container.
      const isOther = version === 3 && hasReason(error, "unimplemented");
      if (isOther || !isAnswer(error)) throw error;
    }
    return { task, version };
  });
}

function isAnswer(error: unknown): boolean {
  return (
    error instanceof ShimError &&
    error.reason !== "unavailable" &&
    error.reason !== "deadlineExceeded"
  );
}
