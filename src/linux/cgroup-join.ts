/** Moves a process to an existing cgroup, in every hierarchy that has it (cgroups(7)). */

import { existsSync, readFileSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf, ShimError } from "../base/error.ts";
import { parseMountLine } from "./mountinfo.ts";

const CGROUP_ROOT = "/sys/fs/cgroup";
const CGROUP2_SUPER_MAGIC = 0x63677270;

/**
 * Moves process `pid` to the cgroup `path`, as written from the root of the hierarchy.
 *
 * Throws ShimError: `invalidArgument` for a path with "..", `notFound` when no hierarchy has it,
 * `failedPrecondition` when the kernel refuses the move.
 */
export function joinCgroup(path: string, pid: number): void {
  if (path.split("/").includes("..")) {
    throw new ShimError("invalidArgument", `Cannot join cgroup ${path}: it leads upwards`);
  }
  const directories = hierarchies()
    .map((hierarchy) => join(hierarchy, path))
    .filter((directory) => existsSync(join(directory, "cgroup.procs")));
  if (directories.length === 0) {
    throw new ShimError("notFound", `Cannot join cgroup ${path}: there is no such cgroup`);
  }
  for (const directory of directories) {
    try {
      writeFileSync(join(directory, "cgroup.procs"), String(pid));
    } catch (cause) {
      throw new ShimError(
        "failedPrecondition",
        `Cannot join cgroup ${path}: ${messageOf(cause)} (${directory})`,
        { cause },
      );
    }
  }
}

/** Mount points of the version 1 hierarchies, or of the one of version 2. */
function hierarchies(): readonly string[] {
  if (statfsSync(CGROUP_ROOT).type === CGROUP2_SUPER_MAGIC) return [CGROUP_ROOT];
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(" - cgroup "))
    .flatMap((line) => parseMountLine(line)?.mountPoint ?? []);
}
