/** Wire messages to domain values and back: the file of the service that knows both. */

import { messageOf, ShimError } from "../base/error.ts";
import { parseExactly } from "../base/exact-json.ts";
import type { CreateRequest } from "../container/container.ts";
import type { Termination } from "../container/lifecycle.ts";
import type { RuncOptions } from "../container/options.ts";
import type { TaskProcess } from "../container/process.ts";
import type { StdioPaths } from "../container/stdio-paths.ts";
import { type TaskEvent, taskCreate } from "../event/task-event.ts";
import { NO_TIME, toTimestamp } from "../event/timestamp.ts";
import { CheckpointOptions as LinuxCheckpointOptions } from "../gen/containerd/runtime/linux/runctypes/runc.ts";
import type { CreateTaskRequest, StateResponse } from "../gen/containerd/task/v2/task.ts";
import type { Mount } from "../gen/containerd/types/mount.ts";
import { CheckpointOptions, ProcessDetails } from "../gen/containerd/types/runc/options/oci.ts";
import { Status } from "../gen/containerd/types/task/task.ts";
import type { Any } from "../gen/google/protobuf/any.ts";
import type { Timestamp } from "../gen/google/protobuf/timestamp.ts";
import type { RootfsMount } from "../rootfs/rootfs.ts";
import { typeNameOf } from "../rpc/type-name.ts";

const STATUS = {
  created: Status.CREATED,
  running: Status.RUNNING,
  pausing: Status.PAUSING,
  paused: Status.PAUSED,
  stopped: Status.STOPPED,
} as const;

/** The answer to State. `exec_id` stays empty, as the stock shim leaves it: `id` names the process. */
export function toStateResponse(bundle: string, process: TaskProcess): StateResponse {
  const { status } = process;
  // What could not be started is reported to its waiters as ended, but is not.
  const termination = status === "created" ? undefined : process.termination;
  return {
    id: process.id,
    bundle,
    pid: process.pid,
    status: STATUS[status],
    ...process.paths,
    exitStatus: termination?.status ?? 0,
    exitedAt: toExitedAt(termination),
    execId: "",
  };
}

/** {@link NO_TIME} while the process runs. */
export function toExitedAt(termination: Termination | undefined): Timestamp {
  return termination === undefined ? NO_TIME : toTimestamp(termination.atMs);
}

/** The stdio fields that Create and Exec share. */
export function toPaths(request: StdioPaths): StdioPaths {
  const { terminal, stdin, stdout, stderr } = request;
  return { terminal, stdin, stdout, stderr };
}

function toRootfsMounts(mounts: readonly Mount[]): readonly RootfsMount[] {
  return mounts.map(({ type, source, target, options }) => ({ type, source, target, options }));
}

export function toCreateRequest(request: CreateTaskRequest, options: RuncOptions): CreateRequest {
  const { id, bundle, checkpoint, parentCheckpoint } = request;
  const rootfs = toRootfsMounts(request.rootfs);
  return { id, bundle, rootfs, paths: toPaths(request), checkpoint, parentCheckpoint, options };
}

/** What is reported of a container that has been created. */
export function toCreateEvent(request: CreateTaskRequest, pid: number): TaskEvent {
  const { id, bundle, rootfs, checkpoint } = request;
  return taskCreate({ containerId: id, bundle, rootfs, io: toPaths(request), checkpoint, pid });
}

/** Details of a process that an exec made, for Pids. */
export function toProcessDetails(execId: string): Any {
  return {
    typeUrl: "containerd.runc.v1.ProcessDetails",
    value: ProcessDetails.encode({ execId }).finish(),
  };
}

/** Both spellings of the message carry the same fields. */
const CHECKPOINT_DECODERS: ReadonlyMap<string, (value: Uint8Array) => CheckpointOptions> = new Map([
  ["containerd.runc.v1.CheckpointOptions", (value) => CheckpointOptions.decode(value)],
  [
    "containerd.linux.runc.CheckpointOptions",
    (value) => ({ ...emptyCheckpointOptions(), ...LinuxCheckpointOptions.decode(value) }),
  ],
]);

/** What a client may ask of a checkpoint. Throws ShimError `invalidArgument`. */
export function toCheckpointOptions(options: Any | undefined): CheckpointOptions {
  if (options === undefined || options.value.length === 0) return emptyCheckpointOptions();
  const name = typeNameOf(options.typeUrl);
  const decode = CHECKPOINT_DECODERS.get(name);
  if (decode === undefined) {
    const known = [...CHECKPOINT_DECODERS.keys()].join(", ");
    const message = `Cannot use checkpoint options of type ${name}: use one of ${known}`;
    throw new ShimError("invalidArgument", message);
  }
  try {
    return decode(options.value);
  } catch (cause) {
    const message = `Cannot decode checkpoint options of type ${name}: ${messageOf(cause)}`;
    throw new ShimError("invalidArgument", message, { cause });
  }
}

function emptyCheckpointOptions(): CheckpointOptions {
  return CheckpointOptions.decode(new Uint8Array(0));
}

/**
 * The JSON of an OCI process, with `terminal` replaced by what Exec says and all else as it is written.
 * Throws ShimError `invalidArgument`.
 */
export function toProcessJson(spec: Any | undefined, terminal: boolean): string {
  let parsed: unknown;
  try {
    parsed = parseExactly(Buffer.from(spec?.value ?? []).toString("utf8"));
  } catch (cause) {
    const message = `Cannot parse the process to exec as JSON: ${messageOf(cause)}`;
    throw new ShimError("invalidArgument", message, { cause });
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new ShimError("invalidArgument", "Cannot exec: the process is not a JSON object");
  }
  return JSON.stringify({ ...parsed, terminal });
}

/** The JSON of OCI Linux resources, as Update carries it. Throws ShimError `invalidArgument`. */
export function toResourcesJson(resources: Any | undefined): Uint8Array {
  const value = resources?.value ?? new Uint8Array(0);
  try {
    JSON.parse(Buffer.from(value).toString("utf8"));
  } catch (cause) {
    const message = `Cannot parse the resources to update as JSON: ${messageOf(cause)}`;
    throw new ShimError("invalidArgument", message, { cause });
  }
  return value;
}
