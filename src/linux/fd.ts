/** File descriptors: one owner each, and the few calls that every kind of descriptor shares. */

import { ptr } from "bun:ffi";
import { fstatSync, readFileSync } from "node:fs";
import { assert } from "../base/assert.ts";
import { cString } from "./bytes.ts";
import { check, EAGAIN, EINTR, EINVAL, errno, SystemError } from "./errno.ts";
import { fileTable } from "./libc.ts";

export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_APPEND = 0o2000;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;

const F_GETFD = 1;
const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const F_DUPFD_CLOEXEC = 1030;
const FD_CLOEXEC = 1;
const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
/** Kernel 6.3; older ones refuse it and do not need it. */
const MFD_EXEC = 0x10;
const F_ADD_SEALS = 1033;
const F_SEAL_SEAL = 1;
const F_SEAL_SHRINK = 2;
const F_SEAL_GROW = 4;
const F_SEAL_WRITE = 8;
const FIONREAD = 0x541bn;

/** A descriptor with exactly one owner, who closes it by disposing. */
export class OwnedFd implements Disposable {
  #fd: number;

  constructor(fd: number) {
    assert(fd >= 0, "a descriptor is not negative");
    this.#fd = fd;
  }

  /** Owns an inherited descriptor, close-on-exec again; undefined makes one that is already closed. */
  static restore(fd: number | undefined): OwnedFd {
    const owned = new OwnedFd(fd ?? 0);
    if (fd === undefined) owned.release();
    else setCloseOnExec(fd, true);
    return owned;
  }

  /** Borrows the number. The owner still closes it. */
  get fd(): number {
    assert(this.#fd >= 0, "descriptor is open");
    return this.#fd;
  }

  get isOpen(): boolean {
    return this.#fd >= 0;
  }

  /** Gives ownership away: the caller closes it from now on. */
  release(): number {
    const { fd } = this;
    this.#fd = -1;
    return fd;
  }

  /** Closes once. Not retried on EINTR: on Linux the descriptor is gone by then. */
  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    fileTable().close(this.release());
  }
}

/**
 * open(2), always close-on-exec. Throws {@link SystemError}.
 * A FIFO must be opened O_NONBLOCK or O_RDWR, or the event loop may hang in here.
 */
export function openFd(path: string, flags: number, mode = 0): OwnedFd {
  const name = cString(path);
  return new OwnedFd(check("open", fileTable().open(ptr(name), flags | O_CLOEXEC, mode), path));
}

/** A close-on-exec duplicate, numbered `atLeast` or higher (fcntl(2), F_DUPFD_CLOEXEC). */
export function duplicateFd(fd: number, atLeast = 3): OwnedFd {
  return new OwnedFd(
    check("fcntl(F_DUPFD_CLOEXEC)", fileTable().fcntl(fd, F_DUPFD_CLOEXEC, atLeast)),
  );
}

/** dup2(2): makes `target` refer to what `fd` refers to; `target` is not close-on-exec. */
export function replaceFd(fd: number, target: number): void {
  check("dup2", fileTable().dup2(fd, target));
}

/** pipe2(2), close-on-exec; `flags` may add O_NONBLOCK, which holds for both ends. */
export function openPipe(flags = 0): { readonly reader: OwnedFd; readonly writer: OwnedFd } {
  const ends = new Int32Array(2);
  check("pipe2", fileTable().pipe2(ptr(ends), flags | O_CLOEXEC));
  return { reader: new OwnedFd(ends[0] ?? -1), writer: new OwnedFd(ends[1] ?? -1) };
}

/**
 * memfd_create(2): a file without a name, in memory. `label` is for people who look at /proc. An
 * executable one may be refused with EACCES, depending on sysctl vm.memfd_noexec.
 */
export function openMemoryFile(label: string, { isExecutable = false } = {}): OwnedFd {
  const name = cString(label);
  const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  const create = (more: number) => fileTable().memfd_create(ptr(name), flags | more);
  let fd = create(isExecutable ? MFD_EXEC : 0);
  if (fd < 0 && isExecutable && errno() === EINVAL) fd = create(0);
  return new OwnedFd(check("memfd_create", fd));
}

/** Keeps a memory file from growing, whoever still holds it: their writes beyond its end fail with EPERM. */
export function sealMemoryFile(fd: number): void {
  check("fcntl(F_ADD_SEALS)", fileTable().fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
}

/** Seals a memory file for good. Fails with EBUSY while it is mapped for writing. */
export function freezeMemoryFile(fd: number): void {
  const seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  check("fcntl(F_ADD_SEALS)", fileTable().fcntl(fd, F_ADD_SEALS, seals));
}

/** Writes all of `bytes` to what never says "again": a file. Throws {@link SystemError}. */
export function writeWhole(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    const written = writeFd(fd, bytes.subarray(at));
    if (written !== "again") at += written;
  }
}

/** Makes every write to the open file description go to the end of the file (O_APPEND). */
export function setAppending(fd: number): void {
  const flags = check("fcntl(F_GETFL)", fileTable().fcntl(fd, F_GETFL, 0));
  check("fcntl(F_SETFL)", fileTable().fcntl(fd, F_SETFL, flags | O_APPEND));
}

/** Sets or clears close-on-exec. */
export function setCloseOnExec(fd: number, on: boolean): void {
  const flags = check("fcntl(F_GETFD)", fileTable().fcntl(fd, F_GETFD, 0));
  const next = on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC;
  check("fcntl(F_SETFD)", fileTable().fcntl(fd, F_SETFD, next));
}

/** Sets or clears O_NONBLOCK on the open file description, so for every duplicate of it too. */
export function setNonBlocking(fd: number, on: boolean): void {
  const flags = check("fcntl(F_GETFL)", fileTable().fcntl(fd, F_GETFL, 0));
  const next = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  check("fcntl(F_SETFL)", fileTable().fcntl(fd, F_SETFL, next));
}

/** Whether the open file description has all of these flags (O_RDWR, O_NONBLOCK, O_APPEND). */
export function hasFlags(fd: number, flags: number): boolean {
  return (check("fcntl(F_GETFL)", fileTable().fcntl(fd, F_GETFL, 0)) & flags) === flags;
}

/** A file by mount and inode, which together identify it for as long as it is open. */
export interface FileIdentity {
  readonly mountId: number;
  readonly inode: bigint;
}

/** Which file `fd` refers to. Needs /proc (proc(5), fdinfo). */
export function fileIdentity(fd: number): FileIdentity {
  const mountId = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))?.[1];
  assert(mountId !== undefined, "fdinfo tells the mount");
  return { mountId: Number(mountId), inode: fstatSync(fd, { bigint: true }).ino };
}

/** Bytes that wait to be read in a pipe, FIFO, pty or socket (ioctl FIONREAD). */
export function readableBytes(fd: number): number {
  const count = new Int32Array(1);
  check("ioctl(FIONREAD)", fileTable().ioctl(fd, FIONREAD, ptr(count)));
  return count[0] ?? 0;
}

/** The result of a non-blocking read or write: a count (0 is end of file for a read), or "again". */
export type Transfer = number | "again";

/** read(2) into `buffer`. Throws {@link SystemError}; EIO from a pty master means that no slave is open. */
export function readFd(fd: number, buffer: Uint8Array): Transfer {
  return transfer("read", () => fileTable().read(fd, ptr(buffer), buffer.length));
}

/** write(2) of `bytes`; may take fewer. Throws {@link SystemError}, EPIPE among others. */
export function writeFd(fd: number, bytes: Uint8Array): Transfer {
  if (bytes.length === 0) return 0;
  return transfer("write", () => fileTable().write(fd, ptr(bytes), bytes.length));
}

function transfer(call: string, attempt: () => number | bigint): Transfer {
  for (;;) {
    const result = Number(attempt());
    if (result >= 0) return result;
    const number = errno();
    if (number === EINTR) continue;
    if (number === EAGAIN) return "again";
    throw new SystemError(call, number);
  }
}
