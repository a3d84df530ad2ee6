/**
 * poll(2) for programs that have nothing else to do meanwhile: `start`, `delete`. The daemon may check
 * readiness with it, but never wait.
 */

import { ptr } from "bun:ffi";
import { EINTR, errno, SystemError } from "./errno.ts";
import { pollTable } from "./libc.ts";

const POLLIN = 0x001;
const POLLOUT = 0x004;

/**
 * Blocks until `fd` is ready for `interest` or has hung up; false after `timeoutMs`.
 * A pidfd is readable once its process is dead.
 */
export function waitUntilReady(
  fd: number,
  interest: "readable" | "writable",
  timeoutMs: number,
): boolean {
  return waitForAny([fd], timeoutMs, interest) !== undefined;
}

/** As {@link waitUntilReady}, for the first of several that is ready; undefined after `timeoutMs`. */
export function waitForAny(
  fds: readonly number[],
  timeoutMs: number,
  interest: "readable" | "writable" = "readable",
): number | undefined {
  const deadline = performance.now() + timeoutMs;
  // struct pollfd: int fd, short events, short revents.
  const entries = new Int32Array(fds.length * 2);
  fds.forEach((fd, index) => {
    entries.set([fd, interest === "readable" ? POLLIN : POLLOUT], index * 2);
  });
  for (;;) {
    const leftMs = Math.max(0, Math.ceil(deadline - performance.now()));
    const count = pollTable().poll(ptr(entries), BigInt(fds.length), leftMs);
    // The returned events are in the upper half of the second word.
    if (count >= 0) return fds.find((_, index) => (entries[index * 2 + 1] ?? 0) >>> 16 !== 0);
    const number = errno();
    if (number !== EINTR) throw new SystemError("poll", number);
  }
}
