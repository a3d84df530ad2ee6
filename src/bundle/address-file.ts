/**
 * The file in a bundle that says where its shim listens, for containerd 1.x, and for tools.
 *
 * `start` writes it before the daemon serves, so whatever happens afterwards, containerd finds the shim.
 */

import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ADDRESS_FILE, addressScheme } from "./address.ts";
import { writeFileAtomically } from "./atomic-file.ts";

/** Readable for tools; the bundle itself is not open to others. */
const ADDRESS_MODE = 0o644;

/** Records that the shim of `bundle` listens at the unix socket `path`. Throws SystemError. */
export function writeAddress(bundle: string, path: string): void {
  writeFileAtomically(join(bundle, ADDRESS_FILE), addressOf(path), ADDRESS_MODE);
}

/**
 * The same for a bundle for which no `start` was run: containerd 2 runs none for a pod's further
 * containers, and an older release that takes over would find no shim for them, and give them up.
 */
export function noteAddress(bundle: string, path: string): void {
  if (!existsSync(join(bundle, ADDRESS_FILE))) writeAddress(bundle, path);
}

/** Removes the file, whatever it says. */
export function removeAddress(bundle: string): void {
  rmSync(join(bundle, ADDRESS_FILE), { force: true });
}

/** Removes it if it names this socket. Never throws: the bundle may be gone already. */
export function removeOwnAddress(bundle: string, path: string): void {
  try {
    if (readFileSync(join(bundle, ADDRESS_FILE), "utf8") === addressOf(path)) removeAddress(bundle);
  } catch {
    // There is nothing to remove.
  }
}

/** How containerd writes the path of a unix socket. */
export function addressOf(path: string): string {
  return `${addressScheme}${path}`;
}
