/** The Handoff service: what operators ask of a running shim's program. */

import { ShimError } from "../base/error.ts";
import type { UpgradeRequest, UpgradeResponse } from "../gen/wedge/handoff/v1/handoff.ts";
import { monotonicMs } from "../linux/clock.ts";
import type { CallContext } from "../rpc/service.ts";
import { revision, version } from "../version.ts";
import type { Mover } from "./mover.ts";

const MICROSECONDS_PER_MILLISECOND = 1000;

/** How the previous program was left. */
export interface Passage {
  readonly pausedAtMs: number;
  /** Why the program to which it left the shim gave it back. */
  readonly refusal: string | undefined;
}

/** Implements wedge.handoff.v1.Handoff. */
export class HandoffService {
  readonly #mover: () => Mover;
  readonly #passage: Passage | undefined;

  /** `mover` is called when the first call comes. */
  constructor(mover: () => Mover, passage: Passage | undefined) {
    this.#mover = mover;
    this.#passage = passage;
  }

  /** Called in the program that is left, answered by its successor. */
  async upgrade({ binary }: UpgradeRequest, { isResumed }: CallContext): Promise<UpgradeResponse> {
    if (isResumed !== true || this.#passage === undefined)
      return await this.#mover().upgrade(binary);
    const { refusal, pausedAtMs } = this.#passage;
    if (refusal !== undefined) {
      throw new ShimError("failedPrecondition", `The new program gave the shim back: ${refusal}`);
    }
    const pauseMs = Math.max(monotonicMs() - pausedAtMs, 0);
    const pauseMicroseconds = BigInt(Math.round(pauseMs * MICROSECONDS_PER_MILLISECOND));
    return { version, revision, pauseMicroseconds };
  }
}
