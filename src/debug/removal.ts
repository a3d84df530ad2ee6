/** Removing a container that was found running: its processes, its task, its shim, its files. */

import { within } from "../base/limit.ts";
import { SIGKILL } from "../linux/signals.ts";
import { callFailure, type ShimConnection } from "./connection.ts";
import type { Target } from "./host/target.ts";
import { removeTraces } from "./run/bundle-trace.ts";
import { removeDerived } from "./run/derived-bundle.ts";

/** A process in an uninterruptible wait in the kernel survives SIGKILL for as long as that takes. */
const KILL_TIMEOUT_MS = 30_000;
const END_TIMEOUT_MS = 10_000;

export interface RemovalOptions {
  readonly target: Target;
  readonly connection: ShimConnection;
  /** "" for init. */
  readonly execId: string;
  /** Kills what still runs. */
  readonly isForced: boolean;
}

/** Deletes the container, and ends its shim unless a manager has it. Returns its exit status. Throws a Refusal. */
export async function removeContainer(options: RemovalOptions): Promise<number> {
  const status = await removeProcess(options);
  const { target, connection } = options;
  const { shim, bundle } = target;
  if (bundle?.isManaged !== false) return status;
  if (await endShim(connection, target.id)) {
    removeTraces(shim.root + bundle.path);
    removeDerived(shim.root + bundle.path);
  }
  return status;
}

/** Deletes one exec. Returns its exit status. Throws a Refusal. */
export async function removeExec(options: RemovalOptions): Promise<number> {
  return await removeProcess(options);
}

async function removeProcess({
  target: { id },
  connection: { task },
  execId,
  isForced,
}: RemovalOptions): Promise<number> {
  const process = { id, execId };
  if (isForced) {
    try {
      await task.kill({ ...process, signal: SIGKILL, all: execId === "" });
    } catch {
      // It has ended, or was never started: the next steps tell.
    }
    try {
      await task.wait(process, { timeoutMs: KILL_TIMEOUT_MS });
    } catch {
      // Delete says why it cannot be deleted.
    }
  }
  try {
    return (await task.delete(process)).exitStatus;
  } catch (error) {
    const hint = isForced ? "" : " (--force kills it first)";
    throw callFailure(`Cannot delete ${execId || id}${hint}`, error);
  }
}

/** Asks a shim to end, which it does without a container; returns whether it has. Never rejects. */
async function endShim({ client, task }: ShimConnection, id: string): Promise<boolean> {
  try {
    await task.shutdown({ id, now: false }, { timeoutMs: END_TIMEOUT_MS });
  } catch {
    // It has already closed the connection, as was wanted.
  }
  return (await within(client.closed, END_TIMEOUT_MS)) !== "late";
}
