/**
 * `deleted` in the bundle: what a shim that has deleted its task leaves for containerd's `delete`, which
 * comes after the end of every shim.
 *
 * Its content is the answer, encoded. It is given as it stands (src/native/launcher.c) when nothing in the
 * bundle says that there is more to do.
 */

import { rmSync } from "node:fs";
import { join } from "node:path";
import { hasCode } from "../linux/errno.ts";
import { writeFileAtomically } from "./atomic-file.ts";

export const DELETION_FILE = "deleted";
/** An answer is three numbers. */
export const DELETION_BYTES_MAX = 256;

/** Leaves `answer`, a DeleteResponse. A bundle that is gone, or a full disk, is no failure: `delete` does it all. */
export function saveDeletion(bundle: string, answer: Uint8Array): void {
  try {
    writeFileAtomically(join(bundle, DELETION_FILE), answer, 0o600);
  } catch (error) {
    if (!hasCode(error, "ENOENT", "ENOTDIR", "ENOSPC", "EDQUOT", "EROFS")) throw error;
  }
}

/** For a bundle that gets another task. */
export function forgetDeletion(bundle: string): void {
  rmSync(join(bundle, DELETION_FILE), { force: true });
}
