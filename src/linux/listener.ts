/**
 * The socket at which containerd reaches a shim: bound, and listened on, before the daemon serves it.
 *
 * Several `start` may want the same address at once, when the containers of a group begin together.
 * A socket that is bound but does not listen yet looks like one whose owner has died, so all of this
 * is done under a lock on the directory (flock(2)).
 */

import { ptr } from "bun:ffi";
import { mkdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { ShimError } from "../base/error.ts";
import { check, EAGAIN, errno, hasCode, SystemError } from "./errno.ts";
import { O_RDONLY, OwnedFd, openFd } from "./fd.ts";
import { lockFileWithin } from "./file-lock.ts";
import { socketTable } from "./libc.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
/** The longest path of a unix socket: sun_path without its NUL (unix(7)). */
export const SOCKET_PATH_BYTES = 107;
/** Of sockaddr_un: the family, and the path with its NUL. */
const PATH_OFFSET = 2;
const ADDRESS_BYTES = PATH_OFFSET + SOCKET_PATH_BYTES + 1;
/** Connections that wait while the daemon comes up; the kernel caps it at net.core.somaxconn. */
const BACKLOG = 4096;
const DIRECTORY_MODE = 0o700;
/** Leaves only reading and writing by the owner on a socket that is being bound. */
const SOCKET_UMASK = 0o177;
/** Claims take microseconds, so a lock that is held longer is not one of ours. */
const LOCK_WAIT_MS = 1000;

/**
 * Listens on a unix socket at `path` that only the owner may connect to, or says "taken" when a live
 * process listens there. A socket that nobody listens on is replaced; directories are made as needed.
 *
 * Throws ShimError `invalidArgument` for a path that is too long, SystemError for what the kernel refuses.
 */
export function claimListener(path: string): OwnedFd | "taken" {
  const address = encodeAddress(path);
  const directory = dirname(path);
  mkdirSync(directory, { recursive: true, mode: DIRECTORY_MODE });
  using _lock = lockDirectory(directory);
  try {
    return bindListener(address, path);
  } catch (error) {
    if (!hasCode(error, "EADDRINUSE")) throw error;
  }
  if (isListening(path)) return "taken";
  rmSync(path, { force: true });
  return bindListener(address, path);
}

/** Removes the socket at `path`; returns false, and leaves it, if a live process listens on it. Missing is fine. */
export function removeStaleSocket(path: string): boolean {
  try {
    using _lock = lockDirectory(dirname(path));
    if (isListening(path)) return false;
    rmSync(path, { force: true });
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
  return true;
}

/**
 * Whether a process listens at `path`. One whose backlog is full does: its socket must not be removed.
 * connect(2) on a unix socket never waits here.
 */
export function isListening(path: string): boolean {
  using socket = openSocket();
  const address = encodeAddress(path);
  if (socketTable().connect(socket.fd, ptr(address), address.length) === 0) return true;
  return errno() === EAGAIN;
}

/**
 * Lets as many wait as {@link claimListener} does: an event loop that listens on the socket sets its own,
 * smaller number, and a manager that comes while a shim is asleep would be turned away by a crowd.
 */
export function restoreBacklog(fd: number): void {
  check("listen", socketTable().listen(fd, BACKLOG));
}

/** The path that a unix socket is bound to (getsockname(2)); undefined for one without a path. */
export function socketPath(fd: number): string | undefined {
  const address = new Uint8Array(ADDRESS_BYTES);
  const length = new Uint32Array([ADDRESS_BYTES]);
  check("getsockname", socketTable().getsockname(fd, ptr(address), ptr(length)));
  const bytes = address.subarray(PATH_OFFSET, Math.min(length[0] ?? 0, ADDRESS_BYTES));
  const end = bytes.indexOf(0);
  const path = Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString();
  return path === "" ? undefined : path;
}

function openSocket(): OwnedFd {
  const type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
  return new OwnedFd(check("socket", socketTable().socket(AF_UNIX, type, 0)));
}

function bindListener(address: Uint8Array, path: string): OwnedFd {
  using undo = new DisposableStack();
  const socket = undo.use(openSocket());
  // The umask belongs to the process; nothing else runs in it until the next line but one.
  const umask = process.umask(SOCKET_UMASK);
  const bound = socketTable().bind(socket.fd, ptr(address), address.length);
  const number = bound === 0 ? 0 : errno();
  process.umask(umask);
  if (number !== 0) throw new SystemError("bind", number, path);
  undo.defer(() => rmSync(path, { force: true }));
  check("listen", socketTable().listen(socket.fd, BACKLOG), path);
  undo.move();
  return socket;
}

function encodeAddress(path: string): Uint8Array {
  const bytes = Buffer.from(path);
  if (bytes.length > SOCKET_PATH_BYTES || bytes.includes(0)) {
    throw new ShimError(
      "invalidArgument",
      `Cannot use the socket path ${path}: ${bytes.length} bytes where ${SOCKET_PATH_BYTES} are the limit; ` +
        "choose a shorter socket directory",
    );
  }
  const address = new Uint8Array(PATH_OFFSET + bytes.length + 1);
  new Uint16Array(address.buffer, 0, 1)[0] = AF_UNIX;
  address.set(bytes, PATH_OFFSET);
  return address;
}

/** Waits a bounded time, then continues without: a stranger's lock must not keep containers from starting. */
function lockDirectory(directory: string): OwnedFd {
  const fd = openFd(directory, O_RDONLY);
  lockFileWithin(fd.fd, LOCK_WAIT_MS);
  return fd;
}
