/** FIFOs (fifo(7)): a pipe with a name. */

import { ptr } from "bun:ffi";
import { cString } from "./bytes.ts";
import { check } from "./errno.ts";
import { fileTable } from "./libc.ts";

/** mkfifo(3). `mode` is subject to the umask. Throws SystemError: EEXIST, ENOENT, EROFS. */
export function makeFifo(path: string, mode: number): void {
  const name = cString(path);
  check("mkfifo", fileTable().mkfifo(ptr(name), mode), path);
}
