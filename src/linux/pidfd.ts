/** pidfd_open(2), pidfd_send_signal(2): a process named by a descriptor, never by a reused number. */

import { ENOSYS, EPERM, ESRCH, errno, SystemError } from "./errno.ts";
import { OwnedFd } from "./fd.ts";
import { processTable } from "./libc.ts";

const SYS_PIDFD_SEND_SIGNAL = 424;
const SYS_PIDFD_OPEN = 434;

/**
 * A pidfd for `pid` (close-on-exec), or undefined where the kernel has none (before Linux 5.3, or
 * blocked by a seccomp filter). Throws SystemError: ESRCH when there is no such process.
 */
export function openPidfd(pid: number): OwnedFd | undefined {
  const fd = Number(processTable().syscall(SYS_PIDFD_OPEN, pid, 0, 0, 0, 0));
  if (fd >= 0) return new OwnedFd(fd);
  const number = errno();
  if (number === ENOSYS || number === EPERM) return undefined;
  throw new SystemError("pidfd_open", number, `of process ${pid}`);
}

/** Sends `signal`; false when the process is already gone. Throws SystemError otherwise. */
export function signalPidfd(pidfd: number, signal: number): boolean {
  if (Number(processTable().syscall(SYS_PIDFD_SEND_SIGNAL, pidfd, signal, 0, 0, 0)) === 0)
    return true;
  const number = errno();
  if (number === ESRCH) return false;
  throw new SystemError("pidfd_send_signal", number);
}

/** kill(2) by number; false when there is no such process. `pid` must be positive: 0 and -1 mean many. */
export function signalPid(pid: number, signal: number): boolean {
  if (!(pid > 0)) throw new RangeError(`Signal to pid ${pid}`);
  if (processTable().kill(pid, signal) === 0) return true;
  const number = errno();
  if (number === ESRCH) return false;
  throw new SystemError("kill", number, `process ${pid}`);
}

/** kill(2) to a process group, named by its leader; false when it has no member. `leader` must be above 1. */
export function signalProcessGroup(leader: number, signal: number): boolean {
  if (!(leader > 1)) throw new RangeError(`Signal to process group ${leader}`);
  if (processTable().kill(-leader, signal) === 0) return true;
  const number = errno();
  if (number === ESRCH) return false;
  throw new SystemError("kill", number, `process group ${leader}`);
}
