/**
 * `delete`: cleans up what a dead shim has left of one task, and says how the task ended.
 *
 * containerd runs it when it has lost a shim, and dockerd's containerd after every normal exit too: then
 * there is nothing left and no runtime process is started. Every file in the bundle is optional, and it is
 * idempotent. What cannot be cleaned up is a warning on stderr, one line each, not a failure; but a task
 * that a live shim still answers for is left alone, and that is a failure.
 */

import { basename, dirname, join } from "node:path";
import { messageOf, ShimError } from "../../base/error.ts";
import { toEntries } from "../../base/variables.ts";
import { readSocketPath } from "../../bundle/address.ts";
import { Bundle } from "../../bundle/bundle.ts";
import { type ExitRecord, KILLED_STATUS, loadExitRecord } from "../../bundle/exit-record.ts";
import { removeCgroup } from "../../container/left-cgroup.ts";
import { defaultOptions, loadOptions, type RuncOptions } from "../../container/options.ts";
import { toRuntimeOptions } from "../../container/runtime-options.ts";
import { hasLeftJournal } from "../../event/journal-file.ts";
import { toTimestamp } from "../../event/timestamp.ts";
import { DeleteResponse } from "../../gen/containerd/task/v2/task.ts";
import { isListening, removeStaleSocket } from "../../linux/listener.ts";
import { openPidfd, signalPidfd } from "../../linux/pidfd.ts";
import { waitUntilReady } from "../../linux/poll.ts";
import { SIGKILL } from "../../linux/signals.ts";
import { readText } from "../../linux/text-file.ts";
import { unmountTree } from "../../rootfs/unmount.ts";
import { killOrphans } from "../../runtime/orphans.ts";
import type { RuntimeOptions } from "../../runtime/runtime.ts";
import {
  hasRuntimeState,
  type InitIdentity,
  isAlive,
  readInitIdentity,
} from "../../runtime/state.ts";
import { checkIdentity } from "../invocation/identity.ts";
import type { Invocation } from "../invocation/invocation.ts";
import { writeOutput } from "../invocation/stream.ts";
import { readPodMembers } from "./pod-members.ts";

/** containerd gives it 5 seconds in all. A frozen process does not die before the runtime thaws it. */
const KILL_LIMIT_MS = 300;
const RUNTIME_LIMIT_MS = 2500;
const UNMOUNT_LIMIT_MS = 500;

type Warn = (message: string) => void;

/** One task as `delete` finds it. */
interface Remains {
  readonly id: string;
  readonly bundle: string;
  /** Where the shim of the task listened. */
  readonly socket: string | undefined;
  readonly runtime: RuntimeOptions;
}

/** Returns the exit code. Throws ShimError `failedPrecondition` when the task has a live shim. */
export async function deleteTask(invocation: Invocation): Promise<number> {
  checkIdentity(invocation);
  const { id, namespace, environment } = invocation;
  const bundle = bundleOf(invocation);
  const warn: Warn = (message) => writeOutput(2, `${message.replaceAll("\n", " ")}\n`);
  const runtime = toRuntimeOptions(readOptions(bundle, warn), {
    namespace,
    bundle,
    environment: toEntries(environment.variables),
  });
  const socket = readSocketPath(bundle);
  // What is still being created could not be cleaned up for good.
  killOrphans(bundle, KILL_LIMIT_MS);
  // Read before anything is removed: without a pid containerd does not believe that the task ended.
  const pid =
    readPid(new Bundle(bundle).initPidFile) ?? readInitIdentity(runtime.root, id)?.pid ?? 0;
  if (hasRuntimeState(runtime.root, id)) await clearPod({ id, bundle, socket, runtime }, warn);
  else await unmountRootfs(bundle, warn);
  await removeCgroup(bundle);
  if (socket !== undefined) {
    await attempt("Cannot remove the socket", warn, () => void removeStaleSocket(socket));
  }
  if (hasLeftJournal(bundle)) {
    await attempt("Cannot send the events that are left", warn, () =>
      sendEvents(invocation, bundle),
    );
  }
  // As late as possible: a shim that is just ending may have written it meanwhile.
  writeOutput(1, encodeResponse(pid, loadExitRecord(bundle)));
  return 0;
}

/**
 * Cleans up a task whose shim has died, and what that shim held beside it: of a pod, containerd 2 runs
 * `delete` for the sandbox only. All have the same runtime and the same options.
 */
async function clearPod(task: Remains, warn: Warn): Promise<void> {
  const ids = readPodMembers(task.bundle, task.runtime.root, task.id);
  await clear(task, warn);
  const others = ids.map((id) => ({ ...task, id, bundle: join(dirname(task.bundle), id) }));
  for (const { bundle } of others) killOrphans(bundle, KILL_LIMIT_MS);
  await Promise.all(
    others
      .filter(({ id }) => hasRuntimeState(task.runtime.root, id))
      .map((other) => attempt(`Cannot clear ${other.id}`, warn, () => clear(other, warn))),
  );
}

/** Kills what still runs of a task and removes its runtime state and mounts. Throws when it is served. */
async function clear({ id, bundle, socket, runtime }: Remains, warn: Warn): Promise<void> {
  const init = readInitIdentity(runtime.root, id);
  await refuseIfServed(socket, id, init);
  if (init !== undefined) killInit(init);
  await removeFromRuntime(runtime, id, warn);
  await unmountRootfs(bundle, warn);
}

async function unmountRootfs(bundle: string, warn: Warn): Promise<void> {
  await attempt("Cannot unmount the rootfs", warn, () =>
    unmountTree(new Bundle(bundle).rootfs, { whenBusy: "detach", busyLimitMs: UNMOUNT_LIMIT_MS }),
  );
}

/** `-bundle`, or the working directory if that is this task's, or a sibling of it with that name. */
function bundleOf({ bundle, id }: Invocation): string {
  if (bundle.startsWith("/")) return bundle;
  const directory = process.cwd();
  return basename(directory) === id ? directory : join(dirname(directory), id);
}

function readOptions(bundle: string, warn: Warn): RuncOptions {
  try {
    return loadOptions(bundle);
  } catch (error) {
    warn(messageOf(error));
    return defaultOptions;
  }
}

/** Undefined if Create did not get that far. */
function readPid(path: string): number | undefined {
  const pid = Number.parseInt(readText(path) ?? "", 10);
  return pid > 0 ? pid : undefined;
}

/** A live shim is only asked when there is something to protect: an init that runs, or may run. */
async function refuseIfServed(
  socket: string | undefined,
  id: string,
  init: InitIdentity | undefined,
): Promise<void> {
  if (socket === undefined || (init !== undefined && !isAlive(init))) return;
  if (!isListening(socket)) return;
  const { isTaskServed } = await import("./task-owner.ts");
  if (!(await isTaskServed(socket, id))) return;
  throw new ShimError(
    "failedPrecondition",
    `Cannot delete task ${id}: a live shim still answers for it at ${socket}; ` +
      "restart containerd to connect to it again",
  );
}

/** So that the runtime finds it dead, and does not kill it and wait itself, in steps of 100 ms. */
function killInit(init: InitIdentity): void {
  try {
    using pidfd = openPidfd(init.pid);
    // Only once the descriptor pins the process does its start time prove whose it is.
    if (pidfd === undefined || !isAlive(init)) return;
    signalPidfd(pidfd.fd, SIGKILL);
    waitUntilReady(pidfd.fd, "readable", KILL_LIMIT_MS);
  } catch {
    // Gone, or not ours to kill: the runtime will say what the matter is.
  }
}

/** Loaded only here: a manager that takes events leaves none behind. */
async function sendEvents(invocation: Invocation, bundle: string): Promise<void> {
  const { sendLeftEvents } = await import("./left-events.ts");
  await sendLeftEvents(invocation, bundle);
}

/** Loaded only here: after a normal exit there is nothing to run. */
async function removeFromRuntime(options: RuntimeOptions, id: string, warn: Warn): Promise<void> {
  const { Poller } = await import("../../linux/poller.ts");
  const { Children } = await import("../../linux/children.ts");
  const { Runc } = await import("../../runtime/runc.ts");
  using poller = new Poller();
  using children = new Children({ poller, reapStrays: false });
  const runtime = new Runc(options, { children });
  await attempt("Cannot remove the container from the runtime", warn, () =>
    runtime.delete(id, { force: true, timeoutMs: RUNTIME_LIMIT_MS }),
  );
}

async function attempt(
  failure: string,
  warn: Warn,
  step: () => void | Promise<void>,
): Promise<void> {
  try {
    await step();
  } catch (error) {
    warn(`${failure}: ${messageOf(error)}`);
  }
}

/** With what the shim has recorded, else with what containerd expects for a task that was killed now. */
function encodeResponse(pid: number, exit: ExitRecord | undefined): Uint8Array {
  return DeleteResponse.encode({
    pid: exit?.pid ?? pid,
    exitStatus: exit?.exitStatus ?? KILLED_STATUS,
    exitedAt: toTimestamp(exit?.exitedAt.getTime() ?? Date.now()),
  }).finish();
}
