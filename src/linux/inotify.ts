/** inotify(7): a descriptor that becomes readable when a file changes. */

import { ptr } from "bun:ffi";
import { cString } from "./bytes.ts";
import { check } from "./errno.ts";
import { O_CLOEXEC, O_NONBLOCK, OwnedFd, readFd } from "./fd.ts";
import { eventTable } from "./libc.ts";

export const IN_MODIFY = 0x0000_0002;

/** struct inotify_event: watch, mask, cookie, length of the name that follows. */
const HEADER_BYTES = 16;
const MASK_OFFSET = 4;
const LENGTH_OFFSET = 12;
/** Room for many events; a single one with the longest name is 272 bytes. */
const BUFFER_BYTES = 4096;

/** An instance without watches, non-blocking, close-on-exec. Throws SystemError (EMFILE). */
export function openInotify(): OwnedFd {
  return new OwnedFd(check("inotify_init1", eventTable().inotify_init1(O_NONBLOCK | O_CLOEXEC)));
}

/** Watches `path` for the events in `mask`. Throws SystemError: ENOENT, ENOSPC past the user's limit. */
export function addInotifyWatch(fd: number, path: string, mask: number): void {
  const name = cString(path);
  check("inotify_add_watch", eventTable().inotify_add_watch(fd, ptr(name), mask), path);
}

/** Takes all waiting events and returns their masks combined; 0 when there were none. */
export function takeInotify(fd: number): number {
  const buffer = new Uint8Array(BUFFER_BYTES);
  const view = new DataView(buffer.buffer);
  let mask = 0;
  for (;;) {
    const count = readFd(fd, buffer);
    if (count === "again" || count === 0) return mask;
    let offset = 0;
    while (offset + HEADER_BYTES <= count) {
      mask |= view.getUint32(offset + MASK_OFFSET, true);
      offset += HEADER_BYTES + view.getUint32(offset + LENGTH_OFFSET, true);
    }
  }
}
