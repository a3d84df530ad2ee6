/** Opening what the manager named: FIFOs, and whatever else is at such a path. */

import { fchownSync, fstatSync } from "node:fs";
import { geteuid } from "node:process";
import { ShimError } from "../base/error.ts";
import { hasCode } from "../linux/errno.ts";
import {
  O_APPEND,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_WRONLY,
  type OwnedFd,
  openFd,
  openPipe,
  setNonBlocking,
} from "../linux/fd.ts";
import { readText } from "../linux/text-file.ts";

/** Who owns the container's ends; 0 and 0 leave them as they are. */
export interface EndOwner {
  readonly ioUid: number;
  readonly ioGid: number;
}

/** Something at a path, found but not opened (O_PATH): nobody can replace it any more. */
export interface Endpoint extends Disposable {
  readonly path: string;
  readonly isFifo: boolean;
  /** Owner of the file. */
  readonly uid: number;
  readonly handle: OwnedFd;
}

/**
 * Finds `path`; `stream` names it in errors. Follows links once, here: what is opened later through
 * the handle is the same file. Throws ShimError when nothing is there, SystemError otherwise.
 */
export function findEndpoint(path: string, stream: string): Endpoint {
  if (path.includes("\0")) {
    throw new ShimError(
      "invalidArgument",
      `NUL byte in the path of ${stream}: ${JSON.stringify(path)}`,
    );
  }
  let handle: OwnedFd;
  try {
    handle = openFd(path, O_PATH);
  } catch (cause) {
    if (!hasCode(cause, "ENOENT", "ENOTDIR")) throw cause;
    throw new ShimError("invalidArgument", `No file or FIFO for ${stream}: ${path}`, { cause });
  }
  using undo = new DisposableStack();
  undo.use(handle);
  const stat = fstatSync(handle.fd);
  undo.move();
  return {
    path,
    isFifo: stat.isFIFO(),
    uid: stat.uid,
    handle,
    [Symbol.dispose]: () => handle[Symbol.dispose](),
  };
}

/** A non-blocking reading end: for a FIFO it never waits for a writer. */
export function openReader(endpoint: Endpoint): OwnedFd {
  return reopen(endpoint, O_RDONLY | O_NONBLOCK);
}

/** A non-blocking writing end. A FIFO must have a reader (our own will do), or this throws ENXIO. */
export function openWriter(endpoint: Endpoint): OwnedFd {
  return reopen(endpoint, O_WRONLY | O_APPEND | O_NONBLOCK);
}

/** A separate open file description for the container: write-only, blocking. A FIFO must have a reader. */
export function openContainerWriter(endpoint: Endpoint): OwnedFd {
  return reopen(endpoint, O_WRONLY);
}

function reopen(endpoint: Endpoint, flags: number): OwnedFd {
  return openFd(`/proc/self/fd/${endpoint.handle.fd}`, flags);
}

/**
 * Whether the client's FIFO can itself become the container's output.
 *
 * The runtime gives its stdio to the container's user, so a FIFO that belongs to anybody but root
 * would be taken from a client that has to open it again. And under an enforcing SELinux a container
 * may not write to files that carry the manager's label, while it may write to our pipes.
 */
export function canHandOver(endpoint: Endpoint): boolean {
  return endpoint.isFifo && endpoint.uid === 0 && geteuid?.() === 0 && !isSelinuxEnforcing();
}

/** Not on a host without SELinux. */
function isSelinuxEnforcing(): boolean {
  return readText("/sys/fs/selinux/enforce")?.startsWith("1") ?? false;
}

/** Gives `fd` to the owner that the options ask for. */
export function giveTo(owner: EndOwner, fd: number): void {
  if (owner.ioUid !== 0 || owner.ioGid !== 0) fchownSync(fd, owner.ioUid, owner.ioGid);
}

/** A pipe between us and the container: our end non-blocking, the container's blocking and owned as asked. */
export function openContainerPipe(
  ours: "reader" | "writer",
  owner: EndOwner,
): { readonly ours: OwnedFd; readonly theirs: OwnedFd } {
  const pipe = openPipe();
  const ends =
    ours === "reader"
      ? { ours: pipe.reader, theirs: pipe.writer }
      : { ours: pipe.writer, theirs: pipe.reader };
  try {
    setNonBlocking(ends.ours.fd, true);
    giveTo(owner, ends.theirs.fd);
    return ends;
  } catch (error) {
    ends.ours[Symbol.dispose]();
    ends.theirs[Symbol.dispose]();
    throw error;
  }
}
