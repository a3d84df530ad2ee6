/** flock(2): one owner of a file at a time, released by the kernel when the owner dies. */

import { EAGAIN, errno, SystemError } from "./errno.ts";
import { lockTable } from "./libc.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;
const RETRY_MS = 2;

/**
 * Takes the lock of the open file description of `fd` without waiting; false when another has it.
 * It is held until the last duplicate of `fd` is closed, including those of children.
 */
export function tryLockFile(fd: number): boolean {
  if (takeLock(fd)) return true;
  const number = errno();
  if (number === EAGAIN) return false;
  throw new SystemError("flock", number);
}

/** The same, and blocks for at most `limitMs` until another has let go; false also where there are no locks. */
export function lockFileWithin(fd: number, limitMs: number): boolean {
  const deadline = performance.now() + limitMs;
  while (!takeLock(fd)) {
    if (performance.now() >= deadline) return false;
    Bun.sleepSync(RETRY_MS);
  }
  return true;
}

function takeLock(fd: number): boolean {
  return lockTable().flock(fd, LOCK_EX | LOCK_NB) === 0;
}
