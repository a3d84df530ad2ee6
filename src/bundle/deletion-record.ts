/**
 * `deleted` in the bundle: what a shim that has deleted its task leaves for containerd's `delete`, which
 * comes after the end of every shim.
 *
 * It contains the answer, encoded, which is passed on as it is (src/native/launcher.c) when nothing in the
 * bundle says that there is more to do.
 */

import { rmSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomically } from "./atomic-file.ts";

export const DELETION_FILE = "deleted";
/** An answer is three numbers. */
export const DELETION_BYTES_MAX = 256;

/**
 * Leaves `answer`, a DeleteResponse. Never throws: the task is gone by then, which still has to be reported,
 * and where nothing can be left `delete` does all the work.
 */
export function saveDeletion(bundle: string, answer: Uint8Array): void {
  try {
    writeFileAtomically(join(bundle, DELETION_FILE), answer, 0o600);
  } catch {
    // A bundle that is gone, a full disk, no descriptor to spare.
  }
}

/** For a bundle that gets another task. */
export function forgetDeletion(bundle: string): void {
  rmSync(join(bundle, DELETION_FILE), { force: true });
}
