/** The cgroup of a container that did not come to be: the runtime makes it before anything else that tells of it. */

import { setTimeout as delay } from "node:timers/promises";
import { loadSpec } from "../bundle/spec.ts";
import { removeEmptyCgroup } from "../cgroup/leftover.ts";

/** What was in it is being killed. */
const ATTEMPTS = 5;
const PAUSE_MS = 20;

/** Removes what is left of it once nothing is in it. Never throws: a cgroup that stays is in nobody's way. */
export async function removeCgroup(bundle: string): Promise<void> {
  const path = cgroupsPathOf(bundle);
  for (let attempt = 1; !removeEmptyCgroup(path) && attempt < ATTEMPTS; attempt++)
    await delay(PAUSE_MS);
}

function cgroupsPathOf(bundle: string): string {
  try {
    return loadSpec(bundle).cgroupsPath;
  } catch {
    return ""; // The bundle is gone.
  }
}
