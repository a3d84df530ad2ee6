/** The standard streams of a short command: read to the end, written to the last byte, both bounded. */

import { fstatSync, readSync, writeSync } from "node:fs";
import { messageOf, ShimError } from "../../base/error.ts";
import { hasCode } from "../../linux/errno.ts";
import { waitUntilReady } from "../../linux/poll.ts";
import { executableName } from "../../version.ts";

/** What containerd's own shim takes at most. */
const INPUT_BYTES_MAX = 10 * 1024 * 1024;
/** containerd writes at once; whoever holds a pipe open for longer has nothing to say. */
const INPUT_WAIT_MS = 5000;
const CHUNK_BYTES = 65536;
const OUTPUT_WAIT_MS = 5000;

/**
 * Everything on `fd` up to its end; nothing from a terminal, `/dev/null` or a closed descriptor.
 * Throws ShimError: `deadlineExceeded` when the end does not come, `resourceExhausted` past 10 MiB.
 */
export function readInput(fd: number, waitMs = INPUT_WAIT_MS): Uint8Array {
  const stat = statOpen(fd);
  if (stat === undefined || stat.isCharacterDevice()) return new Uint8Array(0);
  const deadline = performance.now() + waitMs;
  const chunks: Buffer[] = [];
  let total = 0;
  for (;;) {
    if (!stat.isFile() && !waitUntilReady(fd, "readable", deadline - performance.now())) {
      throw new ShimError("deadlineExceeded", `Cannot read stdin: no end after ${waitMs} ms`);
    }
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    const count = readSync(fd, chunk);
    if (count === 0) return Buffer.concat(chunks);
    total += count;
    if (total > INPUT_BYTES_MAX) {
      const message = `Cannot read stdin: more than ${INPUT_BYTES_MAX} bytes`;
      throw new ShimError("resourceExhausted", message);
    }
    chunks.push(chunk.subarray(0, count));
  }
}

/** Writes all of `data`. Throws what node:fs throws: EPIPE when nobody reads. */
export function writeOutput(fd: number, data: string | Uint8Array): void {
  const bytes = typeof data === "string" ? Buffer.from(data) : data;
  for (let written = 0; written < bytes.length; ) {
    try {
      written += writeSync(fd, bytes, written);
    } catch (error) {
      if (!hasCode(error, "EAGAIN") || !waitUntilReady(fd, "writable", OUTPUT_WAIT_MS)) throw error;
    }
  }
}

/**
 * Why a short command has failed, on stderr. containerd shows it within a sentence of its own, so no newline
 * follows, as in the stock shim; at a terminal one does.
 */
export function writeFailure(error: unknown): void {
  const end = statOpen(2)?.isCharacterDevice() ? "\n" : "";
  writeOutput(2, `${executableName}: ${messageOf(error)}${end}`);
}

/** Why a process has failed that answers nobody, as a line of a log on stderr. */
export function writeFailureLine(error: unknown): void {
  writeOutput(2, `${executableName}: ${messageOf(error)}\n`);
}

function statOpen(fd: number) {
  try {
    return fstatSync(fd);
  } catch (error) {
    if (hasCode(error, "EBADF")) return undefined;
    throw error;
  }
}
