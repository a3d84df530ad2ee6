/** The names that a shim is called with, checked before anything is done with them. */

import { ShimError } from "../../base/error.ts";
import { requireId } from "../../base/id.ts";
import type { Invocation } from "./invocation.ts";

/** Throws ShimError `invalidArgument` unless a namespace and an id are given that a task may have. */
export function checkIdentity({ namespace, id }: Invocation): void {
  if (namespace === "") {
    throw new ShimError("invalidArgument", "shim namespace cannot be empty");
  }
  requireId("namespace", namespace);
  if (id === "")
    throw new ShimError("invalidArgument", "Cannot act on a task without an id: use -id");
  requireId("id", id);
}
