/**
 * The file in a bundle that says where its shim listens, for containerd 1.x, and for tools.
 *
 * `start` writes it before the daemon serves: whatever happens from then on, containerd finds the shim.
 */

import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomically } from "../container/atomic-file.ts";

export const ADDRESS_FILE = "address";
/** Readable for tools; the bundle itself is not open to others. */
const ADDRESS_MODE = 0o644;

/** Notes that the shim of `bundle` listens at the unix socket `path`. Throws SystemError. */
export function writeAddress(bundle: string, path: string): void {
  writeFileAtomically(join(bundle, ADDRESS_FILE), addressOf(path), ADDRESS_MODE);
}

/**
 * The same for a bundle for which no `start` has run: containerd 2 runs none for the further containers
 * of a pod, and an older one that takes over would find no shim for them, and give them up.
 */
export function noteAddress(bundle: string, path: string): void {
  if (!existsSync(join(bundle, ADDRESS_FILE))) writeAddress(bundle, path);
}

/** Takes the note away, whatever it says. */
export function removeAddress(bundle: string): void {
  rmSync(join(bundle, ADDRESS_FILE), { force: true });
}

/** Takes it away if it names this socket. Never throws: the bundle may be gone already. */
export function removeOwnAddress(bundle: string, path: string): void {
  try {
    if (readFileSync(join(bundle, ADDRESS_FILE), "utf8") === addressOf(path)) removeAddress(bundle);
  } catch {
    // There is nothing to take away.
  }
}

/** How containerd writes the path of a unix socket. */
export function addressOf(path: string): string {
  return `unix://${path}`;
}
