/**
 * Transparent huge pages of this process (prctl(2), PR_SET_THP_DISABLE).
 *
 * Where they are on for all (many distributions' default) the engine's sparse heap takes whole
 * 2 MiB pages, and an idle shim has 22 MB of memory of its own instead of 5. The setting is inherited by what is started.
 */

import { selfTable } from "./libc.ts";

const PR_SET_THP_DISABLE = 41;
const PR_GET_THP_DISABLE = 42;

/** Whether this process does without them. False on a kernel that has no such thing. */
export function disablesHugePages(): boolean {
  return selfTable().prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) > 0;
}

/** True when the kernel has done it. */
export function setHugePagesDisabled(isDisabled: boolean): boolean {
  return selfTable().prctl(PR_SET_THP_DISABLE, isDisabled ? 1 : 0, 0, 0, 0) === 0;
}
