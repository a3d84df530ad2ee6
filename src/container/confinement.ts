/** Whether a container may do with files of the host what it may do with its own: AppArmor (apparmor(7)). */

import { loadSpec } from "../bundle/spec.ts";
import { readText } from "../linux/text-file.ts";

const ENABLED_FILE = "/sys/module/apparmor/parameters/enabled";
/**
 * The profiles of Docker, containerd's CRI and nerdctl: they allow everything with files that they do not name, and
 * have `attach_disconnected`, without which a file outside the container's mounts is out of reach.
 */
const PERMISSIVE_PROFILES: ReadonlySet<string> = new Set([
  "",
  "unconfined",
  "docker-default",
  "cri-containerd.apparmor.d",
  "nerdctl-default",
]);

/**
 * Whether the container of `bundle` may open again, or look at, a FIFO of the manager's that it has as its output.
 * AppArmor judges FIFOs by their path, and pipes not at all. Throws what {@link loadSpec} throws.
 */
export function mayReopenFifos(bundle: string, enabledFile = ENABLED_FILE): boolean {
  return !isEnabled(enabledFile) || PERMISSIVE_PROFILES.has(loadSpec(bundle).apparmorProfile);
}

/** Not in a kernel without AppArmor. */
function isEnabled(path: string): boolean {
  return readText(path)?.startsWith("Y") ?? false;
}
