/**
 * A bundle with another config.json: the runtime reads that file and takes no flags, and the user's own is
 * not ours to change. It holds only the file, whose root filesystem stays where it is.
 */

import { mkdtempSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";

const PREFIX = "wedge-bundle-";

/** The parts of a config.json that are read here; the others are kept as they are. */
export interface ConfigDocument {
  readonly process?: object;
  readonly root?: { readonly path?: unknown };
}

/** Creates the bundle; returns its path. Throws what node:fs throws. */
export function deriveBundle(
  bundle: string,
  config: ConfigDocument,
  changes: { readonly terminal: boolean },
): string {
  const path = mkdtempSync(join(tmpdir(), PREFIX));
  const root = { ...config.root, path: resolve(bundle, String(config.root?.path)) };
  const derived = { ...config, root, process: { ...config.process, ...changes } };
  writeFileSync(join(path, "config.json"), JSON.stringify(derived), { mode: 0o600, flag: "wx" });
  return path;
}

/** Removes a bundle that was created here, and no other. */
export function removeDerived(path: string): void {
  if (!basename(path).startsWith(PREFIX)) return;
  try {
    rmSync(join(path, "config.json"));
    rmdirSync(path);
  } catch {
    // Already gone, or somebody has put more into it: then it is theirs.
  }
}
