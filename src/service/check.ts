/** Checks of what a request names, before anything is touched. */

import { isAbsolute, normalize } from "node:path";
import { ShimError } from "../base/error.ts";

/** containerd's own limit is 76; others send longer ones. Above this a file name would not fit. */
const ID_LENGTH_MAX = 200;
const ID_PATTERN = /^[A-Za-z0-9_][A-Za-z0-9_.+-]*$/;

/** Throws ShimError `invalidArgument` for an id that could not be a file name and an argument. */
export function requireId(what: string, id: string): void {
  if (id.length <= ID_LENGTH_MAX && ID_PATTERN.test(id)) return;
  const shown = JSON.stringify(id.slice(0, ID_LENGTH_MAX));
  throw new ShimError(
    "invalidArgument",
    `Cannot use ${what} ${shown}: it takes 1 to ${ID_LENGTH_MAX} letters, digits and "_.+-", a letter or digit first`,
  );
}

/** Throws ShimError `invalidArgument` for a bundle path that is not absolute and plain. */
export function requireBundle(path: string): void {
  if (isAbsolute(path) && normalize(path) === path && !path.includes("\0")) return;
  throw new ShimError(
    "invalidArgument",
    `Cannot use bundle ${JSON.stringify(path)}: the path must be absolute, without ".." or "//"`,
  );
}
