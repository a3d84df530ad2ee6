/** What this process asks of the kernel about itself. */

import { check } from "./errno.ts";
import { selfTable } from "./libc.ts";

const PR_SET_CHILD_SUBREAPER = 36;

/** Makes orphaned descendants ours, so that their exits reach us (prctl(2)). */
export function becomeSubreaper(): void {
  check("prctl(PR_SET_CHILD_SUBREAPER)", selfTable().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
}
