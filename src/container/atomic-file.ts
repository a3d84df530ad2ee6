/** Files that a reader finds whole or not at all, whenever the writer dies. */

import { closeSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/**
 * Writes `text` under a temporary name beside `path` and renames it over. The bundle is on a tmpfs or
 * belongs to this boot, so nothing is synced. Throws what node:fs throws; `path` is then untouched.
 */
export function writeFileAtomically(path: string, text: string, mode: number): void {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}`);
  const fd = openSync(temporary, "w", mode);
  try {
    try {
      const bytes = Buffer.from(text);
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
