/** The names that a shim is called with become paths and arguments, so they are checked first. */

import { ShimError } from "../../base/error.ts";
import type { Invocation } from "./flags.ts";

/** Throws ShimError `invalidArgument` unless namespace and id are given and are plain names. */
export function checkIdentity({ namespace, id }: Invocation): void {
  if (namespace === "") {
    throw new ShimError("invalidArgument", "shim namespace cannot be empty");
  }
  checkName("namespace", namespace);
  if (id === "")
    throw new ShimError("invalidArgument", "Cannot act on a task without an id: use -id");
  checkName("id", id);
}

function checkName(what: string, name: string): void {
  const isPlain = /^[^/\0]+$/.test(name) && name !== "." && name !== ".." && !name.startsWith("-");
  if (isPlain) return;
  throw new ShimError(
    "invalidArgument",
    `Cannot use the ${what} ${JSON.stringify(name)}: it is no plain name`,
  );
}
