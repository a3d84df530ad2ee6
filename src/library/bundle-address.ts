/** Where the shim of a bundle listens, as the files in the bundle say. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

const SCHEME = "unix://";

/**
 * Path of the socket that the bundle's task is served at: as `start` wrote it, or as containerd 2 did
 * for a further container of a pod, for which no shim is started. Undefined when neither says so.
 */
export function readSocketPath(bundle: string): string | undefined {
  const address =
    readText(join(bundle, "address"))?.trim() ??
    addressOf(readText(join(bundle, "bootstrap.json")));
  if (address?.startsWith("/")) return address; // Of a shim that is called over gRPC.
  return address?.startsWith(SCHEME) ? address.slice(SCHEME.length) : undefined;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // Every file is optional.
  }
}

function addressOf(json: string | undefined): string | undefined {
  if (json === undefined) return undefined;
  try {
    const document: unknown = JSON.parse(json);
    if (typeof document !== "object" || document === null || !("address" in document))
      return undefined;
    return typeof document.address === "string" ? document.address : undefined;
  } catch {
    return undefined;
  }
}
