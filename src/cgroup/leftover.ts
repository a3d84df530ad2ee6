/** What a runtime that was killed leaves of a container's cgroup: empty directories. */

import { readFileSync, rmdirSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { hasCode } from "../linux/errno.ts";
import { parseMounts, SYSTEM_ROOTS } from "./cgroup.ts";

/**
 * Removes the cgroup that `cgroupsPath` names (config-linux.md, cgroupsPath) from every hierarchy, unless something
 * is in it. False where something still is, perhaps dying. A path that is not absolute is another's to resolve:
 * systemd's, or the runtime's. Never throws.
 */
export function removeEmptyCgroup(cgroupsPath: string, proc = SYSTEM_ROOTS.proc): boolean {
  if (!isAbsolute(cgroupsPath) || cgroupsPath.split("/").includes("..")) return true;
  const directories = hierarchies(proc).map((mountPoint) => join(mountPoint, cgroupsPath));
  return directories.filter((directory) => !isRemoved(directory)).length === 0;
}

function hierarchies(proc: string): readonly string[] {
  try {
    const mounts = parseMounts(readFileSync(`${proc}/self/mountinfo`, "utf8"));
    return mounts.filter(({ root }) => root === "/").map(({ mountPoint }) => mountPoint);
  } catch {
    return []; // No descriptor is left.
  }
}

function isRemoved(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch (error) {
    return !hasCode(error, "EBUSY", "ENOTEMPTY");
  }
}
