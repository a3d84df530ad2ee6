/** Writing to one of our own streams, to the last byte: others may have made it non-blocking. */

import { writeSync } from "node:fs";
import { hasCode } from "../../linux/errno.ts";
import { waitUntilReady } from "../../linux/poll.ts";

/** A reader may take its time: a pager waits for a person. */
const WAIT_MS = 60_000;

/** Throws what node:fs throws: EPIPE when nobody reads any more. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length; ) {
    try {
      written += writeSync(fd, bytes, written);
    } catch (error) {
      if (!hasCode(error, "EAGAIN")) throw error;
      waitUntilReady(fd, "writable", WAIT_MS);
    }
  }
}
