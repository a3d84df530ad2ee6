/** What is special about pipes and FIFOs: moving bytes without copying, capacity, and who is at the other end. */

import { EAGAIN, EINTR, errno, SystemError } from "./errno.ts";
import { O_NONBLOCK, O_RDONLY, O_WRONLY, type OwnedFd, openFd, type Transfer } from "./fd.ts";
import { fileTable } from "./libc.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, pollNow } from "./poll.ts";

const SPLICE_F_MOVE = 1;
const SPLICE_F_NONBLOCK = 2;
const F_SETPIPE_SZ = 1031;
const F_GETPIPE_SZ = 1032;

/**
 * splice(2): moves up to `limit` bytes from one pipe to another, never waiting; 0 is end of file.
 * Throws {@link SystemError}: EPIPE when nobody can read from `sink` any more.
 */
export function spliceFd(source: number, sink: number, limit: number): Transfer {
  for (;;) {
    const moved = Number(
      fileTable().splice(source, null, sink, null, limit, SPLICE_F_MOVE | SPLICE_F_NONBLOCK),
    );
    if (moved >= 0) return moved;
    const number = errno();
    if (number === EINTR) continue;
    if (number === EAGAIN) return "again";
    throw new SystemError("splice", number);
  }
}

/** Asks for a pipe of at least `bytes`; false if the user's limit for pipes forbids it (pipe(7)). */
export function growPipe(fd: number, bytes: number): boolean {
  if (fileTable().fcntl(fd, F_GETPIPE_SZ, 0) >= bytes) return true;
  return fileTable().fcntl(fd, F_SETPIPE_SZ, bytes) >= 0;
}

/** Whether a read from `fd` would find bytes or an end of file now. */
export function isReadable(fd: number): boolean {
  return (pollNow(fd, POLLIN) & (POLLIN | POLLHUP | POLLERR)) !== 0;
}

/** Whether a write to `fd` would take bytes, or fail, now. */
export function isWritable(fd: number): boolean {
  return (pollNow(fd, POLLOUT) & (POLLOUT | POLLERR)) !== 0;
}

/**
 * Whether anybody, ourselves included, has a reading end of the pipe that `writeEnd` writes to. The
 * kernel reports no count of readers, but tells a writing end when there are none (pipe(7), POLLERR).
 */
export function hasReader(writeEnd: number): boolean {
  return (pollNow(writeEnd, 0) & POLLERR) === 0;
}

/** Whether anybody, ourselves included, has a writing end of the pipe that `readEnd` reads from. */
export function hasWriter(readEnd: number): boolean {
  return (pollNow(readEnd, 0) & POLLHUP) === 0;
}

/**
 * A non-blocking reading end of the pipe that `fd` belongs to. Goes by the descriptor, not by a path, so
 * it is the same pipe even if the FIFO was unlinked or replaced. Needs /proc.
 */
export function reopenForReading(fd: number): OwnedFd {
  return openFd(`/proc/self/fd/${fd}`, O_RDONLY | O_NONBLOCK);
}

/** A writing end, as {@link reopenForReading}. Throws SystemError ENXIO when the pipe has no reader. */
export function reopenForWriting(fd: number): OwnedFd {
  return openFd(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK);
}
