/** An init process as plain data. */

import { flag, plain, record, type Shaped } from "../base/shape.ts";
import { initState } from "./lifecycle.ts";
import { processState } from "./process.ts";
import { stdioOwnerState } from "./process-stdio.ts";
import { stdioPathsState } from "./stdio-paths.ts";

/** An init process as it is handed over. */
export const initProcessState = record({
  containerId: plain,
  bundle: plain,
  paths: stdioPathsState,
  stdioOwner: stdioOwnerState,
  noPivotRoot: flag,
  noNewKeyring: flag,
  criuWorkPath: plain,
  checkpoint: plain,
  parentCheckpoint: plain,
  runtimeState: plain,
  hasOwnPidNamespace: flag,
  process: processState,
  state: initState,
});
export type InitProcessState = Shaped<typeof initProcessState>;
