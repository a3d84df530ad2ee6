/** Whether a container is still somebody's to delete. */

import { readFileSync } from "node:fs";
import { hasCode } from "../linux/errno.ts";
import type { Container } from "./container.ts";

/**
 * Whether `container` has ended and nobody can delete it any more: its bundle is by now that of the next
 * container with its id, or is gone together with what the runtime has recorded.
 */
export function isLost(container: Container): boolean {
  container.lookForExits();
  const { init, bundle } = container;
  if (!init.isDead) return false;
  try {
    // More may follow the pid there (`exit-record.ts`).
    return Number.parseInt(readFileSync(bundle.initPidFile, "utf8"), 10) !== init.pid;
  } catch (error) {
    // What cannot be read now, for want of a descriptor, may well be there.
    return hasCode(error, "ENOENT", "ENOTDIR") && !init.isRecorded;
  }
}
