/** eventfd(2): a kernel counter that becomes readable when somebody adds to it. */

import { check } from "./errno.ts";
import { O_CLOEXEC, O_NONBLOCK, OwnedFd, readFd } from "./fd.ts";
import { eventTable } from "./libc.ts";

const COUNTER_BYTES = 8;

/** A counter at zero, non-blocking, close-on-exec. Throws SystemError (EMFILE, ENFILE). */
export function openEventfd(): OwnedFd {
  return new OwnedFd(check("eventfd", eventTable().eventfd(0, O_NONBLOCK | O_CLOEXEC)));
}

/** Takes what was added since the last call; 0 when nothing was. */
export function takeEventfd(fd: number): number {
  const counter = new BigUint64Array(1);
  const bytes = new Uint8Array(counter.buffer, 0, COUNTER_BYTES);
  return readFd(fd, bytes) === "again" ? 0 : Number(counter[0]);
}
