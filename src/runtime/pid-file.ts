/** The file in which a runtime leaves the pid of the process that it created. */

import { closeSync, openSync, readSync } from "node:fs";

/** The kernel's own limit (PID_MAX_LIMIT). */
const PID_MAX = 4 * 1024 * 1024;
/** Longer than any pid with white space around it. */
const READ_BYTES_MAX = 64;

/**
 * The pid in the file at `path`: a decimal number, white space around it allowed.
 * Throws what node:fs throws for a missing file, and Error for anything that is not a pid.
 */
export function readPidFile(path: string): number {
  const fd = openSync(path, "r");
  const buffer = Buffer.alloc(READ_BYTES_MAX);
  let count: number;
  try {
    count = readSync(fd, buffer, 0, READ_BYTES_MAX, 0);
  } finally {
    closeSync(fd);
  }
  const text = buffer.toString("latin1", 0, count);
  const pid = /^\s*\d{1,10}\s*$/.test(text) ? Number(text) : 0;
  if (pid < 1 || pid > PID_MAX) throw new Error(`no pid in ${path}: ${JSON.stringify(text)}`);
  return pid;
}
