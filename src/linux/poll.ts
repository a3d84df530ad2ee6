/** poll(2): looking at descriptors, and waiting for them. */

import { ptr } from "bun:ffi";
import { EINTR, errno, SystemError } from "./errno.ts";
import { pollTable } from "./libc.ts";

export const POLLIN = 0x001;
export const POLLOUT = 0x004;
export const POLLERR = 0x008;
export const POLLHUP = 0x010;
/** sizeof(struct pollfd): int fd, short events, short revents. */
export const POLLFD_BYTES = 8;
/** A struct pollfd as two words: the descriptor; the events that are asked for, and in the upper half those returned. */
const POLLFD_WORDS = 2;
const RETURNED_SHIFT = 16;
/** poll(2) counts milliseconds in an int; a negative number is no limit. */
const TIMEOUT_MS_MAX = 0x7fff_ffff;
const FOREVER = -1;

/** Reused by all calls: waiting awake makes some fifty of them. */
const entry = new Int32Array(POLLFD_WORDS);

/** Those of `events` that `fd` has now, and POLLERR and POLLHUP unasked. Never waits. */
export function pollNow(fd: number, events: number): number {
  entry[0] = fd;
  entry[1] = events;
  poll(entry, 1, noTime);
  return (entry[1] ?? 0) >>> RETURNED_SHIFT;
}

/**
 * Blocks until `fd` is ready for `interest` or has hung up; false after `timeoutMs`.
 * A pidfd is readable once its process is dead.
 *
 * For programs that have nothing else to do meanwhile: `start`, `delete`. The daemon may check readiness
 * with it, but never wait.
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
  const entries = new Int32Array(fds.length * POLLFD_WORDS);
  fds.forEach((fd, index) => {
    entries.set([fd, interest === "readable" ? POLLIN : POLLOUT], index * POLLFD_WORDS);
  });
  poll(entries, fds.length, () => Math.max(0, Math.ceil(deadline - performance.now())));
  return fds.find((_, index) => (entries[index * POLLFD_WORDS + 1] ?? 0) >>> RETURNED_SHIFT !== 0);
}

/**
 * Blocks until `fd` is readable or has hung up, a signal has come, or `ms`, which may be infinite, are over:
 * whichever is first. It may also return without any of these.
 */
export function waitOnce(fd: number, ms: number): void {
  const entries = Int32Array.of(fd, POLLIN);
  const timeoutMs = ms > TIMEOUT_MS_MAX ? FOREVER : Math.max(0, Math.ceil(ms));
  if (pollTable().poll(ptr(entries), 1, timeoutMs) >= 0) return;
  const number = errno();
  if (number !== EINTR) throw new SystemError("poll", number);
}

const noTime = () => 0;

/** A signal interrupts it, if there is nothing to report even with a timeout of zero. */
function poll(entries: Int32Array, count: number, leftMs: () => number): void {
  while (pollTable().poll(ptr(entries), count, leftMs()) < 0) {
    const number = errno();
    if (number !== EINTR) throw new SystemError("poll", number);
  }
}
