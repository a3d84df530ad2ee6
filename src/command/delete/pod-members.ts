/**
 * Which tasks share a pod's shim without one having been started for them.
 *
 * From version 2 on, containerd starts a shim only for a pod's sandbox. Into the bundle of each further
 * container it writes the sandbox's id, and it runs no `delete` for these when the shim dies. It may
 * remove their bundles at once, so the runtime's records are consulted as well.
 */

import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { SANDBOX_FILE } from "../../bundle/bundle.ts";
import { SANDBOX_ANNOTATION } from "../../bundle/spec.ts";
import { readText } from "../../linux/text-file.ts";
import { findAnnotated } from "../../runtime/state.ts";

/**
 * The ids of the other containers in the pod of sandbox `id`, whose bundle is `bundle` and whose
 * runtime keeps its state under `root`. Never throws.
 */
export function readPodMembers(bundle: string, root: string, id: string): readonly string[] {
  const directory = dirname(bundle);
  const marked = listNames(directory).filter(
    (name) => readText(join(directory, name, SANDBOX_FILE))?.trim() === id,
  );
  const members = new Set([...marked, ...findAnnotated(root, SANDBOX_ANNOTATION, id)]);
  members.delete(id);
  return [...members];
}

function listNames(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // The bundles are gone.
  }
}
