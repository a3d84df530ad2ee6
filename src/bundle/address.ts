/** How the address of a shim is written, and what the files in a bundle say about it. */

import { join } from "node:path";
import { member, parseJson } from "../base/json.ts";
import { readText } from "../linux/text-file.ts";

/** Written by `start`, as containerd 1.x does, see `address-file.ts`. */
export const ADDRESS_FILE = "address";

/** Prefix of the address of a unix socket. */
export const addressScheme = "unix://";
/** Newest first: containerd 2 keeps the whole answer of the shim, older ones and wedge its address. */
const FILES = ["bootstrap.json", ADDRESS_FILE] as const;

/** Path of the unix socket in an address: after `unix://`, or as it is, as gRPC has it. Undefined otherwise. */
export function parseSocketPath(address: string): string | undefined {
  if (address.startsWith(addressScheme)) return address.slice(addressScheme.length);
  return address.startsWith("/") ? address : undefined;
}

/**
 * Path of the socket at which a bundle's task is served: as `start` wrote it, or as containerd 2 did for
 * a further container of a pod, for which no shim is started. `read` returns the text of a file of the
 * bundle, undefined when there is none. Undefined when no file says so.
 */
export function findSocketPath(read: (name: string) => string | undefined): string | undefined {
  for (const name of FILES) {
    const text = read(name);
    const address = name === ADDRESS_FILE ? text?.trim() : member(parseJson(text), "address");
    const path = typeof address === "string" ? parseSocketPath(address) : undefined;
    if (path !== undefined) return path;
  }
  return undefined;
}

/** {@link findSocketPath} in the files of `bundle`. Never throws. */
export function readSocketPath(bundle: string): string | undefined {
  return findSocketPath((name) => readText(join(bundle, name)));
}
