/** The events of a task: what each says, its topic, and its form on the wire. */

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
import type { Any } from "../gen/google/protobuf/any.ts";

/** A codec of ts-proto, as far as events need it. */
interface Codec<T> {
  encode(message: T): { finish(): Uint8Array };
}

/** One fact about a task, encoded and ready to send. */
export interface TaskEvent {
  /** Where subscribers look: "/tasks/exit". */
  readonly topic: string;
  readonly event: Any;
}

function kind<T>(topic: string, name: string, codec: Codec<T>): (message: T) => TaskEvent {
  return (message) => ({
    topic,
    // containerd knows its own messages by their bare name, without a type URL prefix.
    event: { typeUrl: `containerd.events.${name}`, value: codec.encode(message).finish() },
  });
}

export const taskCreate = kind("/tasks/create", "TaskCreate", TaskCreate);
export const taskStart = kind("/tasks/start", "TaskStart", TaskStart);
export const taskExit = kind("/tasks/exit", "TaskExit", TaskExit);
export const taskDelete = kind("/tasks/delete", "TaskDelete", TaskDelete);
export const taskOom = kind("/tasks/oom", "TaskOOM", TaskOOM);
export const taskExecAdded = kind("/tasks/exec-added", "TaskExecAdded", TaskExecAdded);
export const taskExecStarted = kind("/tasks/exec-started", "TaskExecStarted", TaskExecStarted);
export const taskPaused = kind("/tasks/paused", "TaskPaused", TaskPaused);
export const taskResumed = kind("/tasks/resumed", "TaskResumed", TaskResumed);
export const taskCheckpointed = kind("/tasks/checkpointed", "TaskCheckpointed", TaskCheckpointed);
