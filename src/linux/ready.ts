/**
 * poll(2) for programs that have nothing else to do meanwhile: `start`, `delete`. The daemon may ask how
 * things are, but never wait.
 */

import { ptr } from "bun:ffi";
import { errno, SystemError } from "./errno.ts";
import { pollTable } from "./libc.ts";

const POLLIN = 0x001;
const POLLOUT = 0x004;
const EINTR = 4;

/**
 * Blocks until `fd` is ready for `interest` or has hung up; false after `timeoutMs`.
 * A pidfd is readable once its process is dead.
 */
export function waitUntilReady(
  fd: number,
  interest: "readable" | "writable",
  timeoutMs: number,
): boolean {
  const deadline = performance.now() + timeoutMs;
  // struct pollfd: int fd, short events, short revents.
  const entry = new Int32Array([fd, interest === "readable" ? POLLIN : POLLOUT]);
  for (;;) {
    const leftMs = Math.max(0, Math.ceil(deadline - performance.now()));
    const count = pollTable().poll(ptr(entry), 1n, leftMs);
    if (count >= 0) return count > 0;
    const number = errno();
    if (number !== EINTR) throw new SystemError("poll", number);
  }
}
