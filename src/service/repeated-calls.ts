/** Which calls a client may repeat, and what it is told then: see `retries.ts`. */

import {
  CreateTaskRequest,
  type CreateTaskResponse,
  DeleteRequest,
  type DeleteResponse,
  ExecProcessRequest,
  StartRequest,
  type StartResponse,
  type StateResponse,
} from "../gen/containerd/task/v2/task.ts";
import type { Empty } from "../gen/google/protobuf/empty.ts";
import { type ProcessRequest, Retries } from "./retries.ts";

/** What a Delete answers, and what State answers until somebody has taken that. */
export interface Deleted {
  readonly response: DeleteResponse;
  readonly state: StateResponse;
}

/** The calls of this shim that were repeated, or may be. */
export class RepeatedCalls {
  /** Until a process is started, the request that made it may come again. */
  readonly creates = new Retries<CreateTaskRequest, CreateTaskResponse>({
    codec: CreateTaskRequest,
    keyOf: ({ id }) => ({ id, execId: "" }),
    keeps: "all",
  });
  readonly execs = new Retries<ExecProcessRequest, Empty>({
    codec: ExecProcessRequest,
    keyOf: processOf,
    keeps: "all",
  });
  readonly starts = new Retries<StartRequest, StartResponse>({
    codec: StartRequest,
    keyOf: processOf,
    keeps: "untaken",
  });
  readonly deletes = new Retries<DeleteRequest, Deleted>({
    codec: DeleteRequest,
    keyOf: processOf,
    keeps: "untaken",
  });

  /** Its creation is not to be repeated any more. */
  processStarts(process: ProcessRequest): void {
    (process.execId === "" ? this.creates : this.execs).forget(process);
  }

  /** Nothing of its life is to be repeated any more; with init, nothing of the container's. */
  processEnds({ id, execId }: ProcessRequest): void {
    for (const calls of [this.creates, this.execs, this.starts, this.deletes]) {
      if (execId === "") calls.forgetContainer(id);
      else if (calls !== this.creates) calls.forget({ id, execId });
    }
  }

  /**
   * A process that was deleted while the client that asked for it had left. For clients it is there
   * until one of them has been told: they look before they delete, and would take it for lost.
   */
  untold(id: string, execId: string): Deleted | undefined {
    return this.deletes.find({ id, execId })?.answer;
  }
}

function processOf({ id, execId }: ProcessRequest): ProcessRequest {
  return { id, execId };
}
