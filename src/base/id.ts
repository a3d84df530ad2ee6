/** Which ids and namespaces are taken: each becomes the name of a file and an argument of a program. */

import { ShimError } from "./error.ts";

/**
 * containerd permits 76 characters: letters and digits, with single `.`, `_` and `-` between them. Whoever
 * calls a shim without containerd may send what runc takes. Above this a file name would not fit.
 */
const ID_LENGTH_MAX = 200;
const ID_PATTERN = /^[A-Za-z0-9_][A-Za-z0-9_.+-]*$/;

/** Throws ShimError `invalidArgument` for an id that could not be a file name and an argument. */
export function requireId(what: string, id: string): void {
  if (id.length <= ID_LENGTH_MAX && ID_PATTERN.test(id)) return;
  const shown = JSON.stringify(id.slice(0, ID_LENGTH_MAX));
  throw new ShimError(
    "invalidArgument",
    `Cannot use the ${what} ${shown}: it takes 1 to ${ID_LENGTH_MAX} letters, digits and "_.+-", a letter, a digit or "_" first`,
  );
}
