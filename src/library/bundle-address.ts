/** Where the shim of a bundle listens, as the files in the bundle say. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { findSocketPath } from "../rpc/shim-address.ts";

/** Path of the socket at which the bundle's task is served. Undefined when no file says so. */
export function readSocketPath(bundle: string): string | undefined {
  return findSocketPath((name) => {
    try {
      return readFileSync(join(bundle, name), "utf8");
    } catch {
      return undefined; // Every file is optional.
    }
  });
}
