/**
 * Transparent huge pages of this process (prctl(2), PR_SET_THP_DISABLE).
 *
 * Where they are on for everything (the default of many distributions) the engine's sparse heap takes whole
 * 2 MiB pages, and an idle shim has 22 to 24 MB of private memory instead of 6. The setting is inherited.
 */

import { selfTable } from "./libc.ts";

const PR_SET_THP_DISABLE = 41;
const PR_GET_THP_DISABLE = 42;

/** Whether they are disabled for this process. False on a kernel that cannot do that. */
export function disablesHugePages(): boolean {
  return selfTable().prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) > 0;
}

/** True when the kernel has done it. */
export function setHugePagesDisabled(isDisabled: boolean): boolean {
  return selfTable().prctl(PR_SET_THP_DISABLE, isDisabled ? 1 : 0, 0, 0, 0) === 0;
}
