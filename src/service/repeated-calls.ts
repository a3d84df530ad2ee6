/** Which calls a client may repeat, and what it is answered then: see `retries.ts`. */

import type { Inventory } from "../base/inventory.ts";
import {
  base64,
  fromBase64,
  list,
  plain,
  real,
  record,
  type Shaped,
  toBase64,
} from "../base/shape.ts";
import {
  CreateTaskRequest,
  CreateTaskResponse,
  DeleteRequest,
  DeleteResponse,
  ExecProcessRequest,
  StartRequest,
  StartResponse,
  StateResponse,
} from "../gen/containerd/task/v2/task.ts";
import { Empty } from "../gen/google/protobuf/empty.ts";
import type { Codec } from "../rpc/service.ts";
import { type KeptAnswer, type ProcessRequest, Retries } from "./retries.ts";

const keptState = list(
  record({
    process: record({ id: plain, execId: plain }),
    digest: plain,
    /** The messages of the answer. */
    answer: list(base64),
    /** Since it was given, milliseconds. */
    ageMs: real,
  }),
);
export type KeptState = Shaped<typeof keptState>;

/** The answers that are kept, by method. */
export const repeatedCallsState = record({
  creates: keptState,
  execs: keptState,
  starts: keptState,
  deletes: keptState,
});
export type RepeatedCallsState = Shaped<typeof repeatedCallsState>;

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

  /** For {@link restore}. A call in flight is an obstacle, though its client may have left. */
  snapshot(inventory: Inventory): RepeatedCallsState {
    const { creates, execs, starts, deletes } = this;
    if ([creates, execs, starts, deletes].some(({ isBusy }) => isBusy))
      inventory.addObstacle("a call is at work");
    return {
      creates: toState(creates.kept, (answer) => [encode(CreateTaskResponse, answer)]),
      execs: toState(execs.kept, (answer) => [encode(Empty, answer)]),
      starts: toState(starts.kept, (answer) => [encode(StartResponse, answer)]),
      deletes: toState(deletes.kept, ({ response, state }) => [
        encode(DeleteResponse, response),
        encode(StateResponse, state),
      ]),
    };
  }

  /** Takes over what its predecessor has kept. */
  restore(state: RepeatedCallsState): void {
    this.creates.restore(
      fromState(state.creates, ([answer]) => decode(CreateTaskResponse, answer)),
    );
    this.execs.restore(fromState(state.execs, ([answer]) => decode(Empty, answer)));
    this.starts.restore(fromState(state.starts, ([answer]) => decode(StartResponse, answer)));
    this.deletes.restore(
      fromState(state.deletes, ([response, process]) => ({
        response: decode(DeleteResponse, response),
        state: decode(StateResponse, process),
      })),
    );
  }

  /** Resolves when whatever is being created or started now is there, or has failed and been undone. */
  async made(): Promise<void> {
    await Promise.all([this.creates.idle(), this.starts.idle()]);
  }

  /** Its creation is no longer to be repeated. */
  processStarts(process: ProcessRequest): void {
    (process.execId === "" ? this.creates : this.execs).forget(process);
  }

  /** Nothing of its life is to be repeated any more; for init, nothing of the container's. */
  processEnds({ id, execId }: ProcessRequest): void {
    for (const calls of [this.creates, this.execs, this.starts, this.deletes]) {
      if (execId === "") calls.forgetContainer(id);
      else if (calls !== this.creates) calls.forget({ id, execId });
    }
  }

  /**
   * A process that was deleted after the client that asked for it had left. For clients it still exists
   * until one of them has been told: they look before they delete, and would take it for lost.
   */
  untold(id: string, execId: string): Deleted | undefined {
    return this.deletes.find({ id, execId })?.answer;
  }
}

function processOf({ id, execId }: ProcessRequest): ProcessRequest {
  return { id, execId };
}

function toState<A>(
  kept: readonly KeptAnswer<A>[],
  encodeAnswer: (answer: A) => readonly string[],
): KeptState {
  return kept.map((one) => ({ ...one, answer: encodeAnswer(one.answer) }));
}

function fromState<A>(
  kept: KeptState,
  decodeAnswer: (answer: readonly string[]) => A,
): readonly KeptAnswer<A>[] {
  return kept.map((one) => ({ ...one, answer: decodeAnswer(one.answer) }));
}

function encode<M>(codec: Codec<M>, message: M): string {
  return toBase64(codec.encode(message).finish());
}

function decode<M>(codec: Codec<M>, encoded = ""): M {
  return codec.decode(fromBase64(encoded));
}
