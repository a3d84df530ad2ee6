/** Files that a reader finds whole or not at all, no matter when the writer dies. */

import { closeSync, openSync, renameSync, rmSync, symlinkSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { hasCode } from "../linux/errno.ts";
import { ownPid } from "../linux/self.ts";

/**
 * Writes `content` under a temporary name beside `path` and renames it over. The bundle is on a tmpfs or
 * belongs to this boot, so nothing is synced. Whatever exists at either name, above all a link, is replaced
 * and never written to. Throws what node:fs throws; `path` is then untouched.
 */
export function writeFileAtomically(
  path: string,
  content: string | Uint8Array,
  mode: number,
): void {
  const temporary = temporaryOf(path);
  const fd = createFile(temporary, mode);
  try {
    try {
      const bytes = typeof content === "string" ? Buffer.from(content) : content;
      for (let written = 0; written < bytes.length; ) {
        written += writeSync(fd, bytes, written);
      }
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** Makes `path` a symbolic link to `target` in the same way, without using a descriptor. */
export function linkAtomically(path: string, target: string): void {
  const temporary = temporaryOf(path);
  rmSync(temporary, { force: true });
  symlinkSync(target, temporary);
  renameSync(temporary, path);
}

function temporaryOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.${ownPid()}`);
}

/** Creates a file that must not exist; one that does can only be that of a dead process with the same pid. */
function createFile(path: string, mode: number): number {
  try {
    return openSync(path, "wx", mode);
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
    rmSync(path);
    return openSync(path, "wx", mode);
  }
}
