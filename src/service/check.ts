/** Checks of the bundle that a request names, before anything is touched. */

import { isAbsolute, normalize } from "node:path";
import { ShimError } from "../base/error.ts";

/** Throws ShimError `invalidArgument` for a bundle path that is not absolute and plain. */
export function requireBundle(path: string): void {
  if (isAbsolute(path) && normalize(path) === path && !path.includes("\0")) return;
  throw new ShimError(
    "invalidArgument",
    `Cannot use bundle ${JSON.stringify(path)}: the path must be absolute, without ".." or "//"`,
  );
}
