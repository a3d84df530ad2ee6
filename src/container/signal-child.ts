/** Signals to a process that is a child of this one, and the errors for those that cannot be sent. */

import { messageOf, ShimError } from "../base/error.ts";
import { hasCode } from "../linux/errno.ts";

export interface SignalRequest {
  readonly signal: number;
  /** To every process of the container. */
  readonly all: boolean;
}

/** For a signal to what has ended. */
export function alreadyFinished(cause?: unknown): ShimError {
  return new ShimError("notFound", "process already finished", { cause });
}

/** Runs `signal`; a process that is gone and a signal that does not exist become clear errors. */
export function signalChild(signal: () => boolean): void {
  let wasThere: boolean;
  try {
    wasThere = signal();
  } catch (cause) {
    if (!hasCode(cause, "EINVAL", "EPERM")) throw cause;
    throw new ShimError("unknown", `unknown error after kill: ${messageOf(cause)}`, { cause });
  }
  if (!wasThere) throw alreadyFinished();
}
