/** One running container, and what its shim is asked to do with it. */

import type { TaskClient } from "../rpc/task-client.ts";
import { callFailure, connectShim } from "./connection.ts";
import { findShims } from "./host/shims.ts";
import { findTarget, type Target } from "./host/target.ts";
import { Refusal } from "./refusal.ts";

/** A container, with its shim connected. */
export interface Managed {
  readonly target: Target;
  readonly task: TaskClient;
  readonly id: string;
}

/** Flags that verbs about one container share. */
export interface ManagedFlags {
  readonly namespace?: string | undefined;
}

/**
 * Finds the container that `word` means and does `act` with it. A failed call becomes a Refusal that
 * begins with "Cannot `what` ID".
 */
export async function onContainer<Result>(
  word: string,
  { namespace }: ManagedFlags,
  what: string,
  act: (managed: Managed) => Promise<Result>,
): Promise<Result> {
  const target = findTarget(findShims(), word, { namespace });
  using connection = await connectShim(target.shim);
  try {
    return await act({ target, task: connection.task, id: target.id });
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw callFailure(`Cannot ${what} ${target.id}`, error);
  }
}
