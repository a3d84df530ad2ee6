/** The listening socket of a shim that was started by hand, without `start`. */

import { messageOf, ShimError } from "../../base/error.ts";
import { claimListener, socketPath } from "../../linux/listener.ts";
import type { Invocation } from "../invocation/invocation.ts";

/** Where the stock shim too expects it, unless `-socket` says where to listen. */
const LISTENER_FD = 3;

/**
 * The socket that `-socket` asks for, or else descriptor 3.
 * Throws ShimError where another process listens there, or descriptor 3 is not a socket; SystemError.
 */
export function openListener({ socket }: Pick<Invocation, "socket">): number {
  if (socket === "") return inheritListener();
  const listener = claimListener(socket);
  if (listener === "taken") {
    throw new ShimError(
      "alreadyExists",
      `Cannot listen on ${socket}: another process does; end that one, or give another path with -socket`,
    );
  }
  return listener.release();
}

function inheritListener(): number {
  try {
    socketPath(LISTENER_FD);
  } catch (cause) {
    throw new ShimError(
      "invalidArgument",
      `Cannot serve: neither -socket is given nor is descriptor ${LISTENER_FD} a socket (${messageOf(cause)}); to make a shim, use start`,
      { cause },
    );
  }
  return LISTENER_FD;
}
