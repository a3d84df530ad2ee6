/**
 * Where a process is in the cgroup file systems (cgroups(7)).
 *
 * The result is plain data, found once per container and kept: after its init has died nobody can
 * ask the kernel again. `pids.ts`, `metrics.ts` and `oom.ts` read the directories.
 */

import { existsSync, readFileSync } from "node:fs";
import { plain, type Shaped, table, tagged } from "../base/shape.ts";
import { hasCode } from "../linux/errno.ts";
import { parseMountLine } from "../linux/mountinfo.ts";
import { parseStat } from "../linux/proc-stat.ts";

/** The cgroup of a container. Serialisable: only strings. */
export type CgroupLocation =
  /** Directories by controller: "memory", "cpu", …; a named hierarchy as "name=systemd". */
  | { readonly version: 1; readonly paths: Readonly<Record<string, string>> }
  | { readonly version: 2; readonly path: string };

/** {@link CgroupLocation} as it is handed over. */
export const cgroupState = tagged({ v1: { paths: table(plain) }, v2: { path: plain } });
export type CgroupState = Shaped<typeof cgroupState>;

export function toCgroupState(location: CgroupLocation): CgroupState {
  return location.version === 1
    ? { kind: "v1", paths: location.paths }
    : { kind: "v2", path: location.path };
}

export function fromCgroupState(state: CgroupState): CgroupLocation {
  return state.kind === "v1"
    ? { version: 1, paths: state.paths }
    : { version: 2, path: state.path };
}

/** Where the kernel's file systems are mounted; fixture directories in tests. */
export interface CgroupRoots {
  readonly proc: string;
  readonly cgroup: string;
}

export const SYSTEM_ROOTS: CgroupRoots = { proc: "/proc", cgroup: "/sys/fs/cgroup" };

/** Which hierarchy, and where in it: a line of /proc/PID/cgroup. */
export interface Membership {
  /** Empty for the unified hierarchy of v2. */
  readonly controllers: readonly string[];
  readonly path: string;
}

/** A mounted cgroup hierarchy, or a part of one. */
export interface CgroupMount {
  readonly version: 1 | 2;
  /** The directory of the hierarchy that the mount shows. */
  readonly root: string;
  readonly mountPoint: string;
  /** Empty for v2. */
  readonly controllers: readonly string[];
}

/** Of the kernel's task flags. */
const PF_EXITING = 0x4;

/**
 * Finds the cgroup of process `pid`. Undefined when there is no such process (any more), no cgroup
 * file system, or no cgroup of its own; the container then runs on without Stats and without an OOM watch.
 *
 * A cgroup that this process is in as well is not the container's: an unprivileged manager cannot create
 * any, and the figures, processes and OOM kills of the one in which it was started are everybody's.
 *
 * With v1 and v2 side by side ("hybrid") the answer is v1: the controllers are there.
 */
export function locateCgroup(pid: number, roots = SYSTEM_ROOTS): CgroupLocation | undefined {
  const processDirectory = `${roots.proc}/${pid}`;
  const text = readOptional(`${processDirectory}/cgroup`);
  if (text === undefined) return undefined;
  // On v1 a dying process counts as a member of the root cgroup, whose figures are the whole machine's.
  if (/:\/$/m.test(text) && isExiting(processDirectory)) return undefined;
  const own = new Set((readOptional(`${roots.proc}/self/cgroup`) ?? "").split("\n"));
  const lines = text.split("\n").filter((line) => !own.has(line));
  const memberships = lines.flatMap(parseMembership);

  let mounts: readonly CgroupMount[] | undefined;
  const allMounts = () => {
    mounts ??= parseMounts(readOptional(`${roots.proc}/self/mountinfo`) ?? "");
    return mounts;
  };
  const unified = memberships.find(({ controllers }) => controllers.length === 0);
  const isUnifiedOnly = existsSync(`${roots.cgroup}/cgroup.controllers`);
  if (!isUnifiedOnly) {
    const paths: Record<string, string> = {};
    for (const { controllers, path } of memberships) {
      for (const controller of controllers) {
        const directory = findV1(controller, path, roots.cgroup, allMounts);
        if (directory !== undefined) paths[controller] = directory;
      }
    }
    if (Object.keys(paths).length > 0) return { version: 1, paths };
  }
  const found = unified && findV2(unified.path, roots.cgroup, allMounts);
  return found === undefined ? undefined : { version: 2, path: found };
}

/** Parses /proc/PID/cgroup. */
export function parseMemberships(text: string): readonly Membership[] {
  return text.split("\n").flatMap(parseMembership);
}

/** Parses one of its lines, `id:controller,…:path`; the path may contain colons. An empty one gives none. */
function parseMembership(line: string): readonly Membership[] {
  const first = line.indexOf(":");
  const second = line.indexOf(":", first + 1);
  if (first < 0 || second < 0) return [];
  const names = line.slice(first + 1, second);
  return [{ controllers: names === "" ? [] : names.split(","), path: line.slice(second + 1) }];
}

/** Parses the cgroup mounts in a mountinfo file (proc(5)). */
export function parseMounts(text: string): readonly CgroupMount[] {
  return text.split("\n").flatMap((line): readonly CgroupMount[] => {
    // Of the mounts of all containers on the machine, few are of cgroups.
    const info = line.includes(" - cgroup") ? parseMountLine(line) : undefined;
    if (info === undefined) return [];
    const { type, root, mountPoint, superOptions } = info;
    if (type === "cgroup2") return [{ version: 2, controllers: [], root, mountPoint }];
    if (type !== "cgroup") return [];
    return [{ version: 1, controllers: superOptions.split(","), root, mountPoint }];
  });
}

/**
 * The usual mount point first, which saves reading the mounts of all containers on the machine; in
 * a nested container only a part of the hierarchy is visible, and the directory does not exist.
 */
function findV1(
  controller: string,
  path: string,
  cgroupRoot: string,
  mounts: () => readonly CgroupMount[],
): string | undefined {
  const name = controller.startsWith("name=") ? controller.slice("name=".length) : controller;
  const usual = existing(`${cgroupRoot}/${name}`, "/", path);
  if (usual !== undefined) return usual;
  for (const mount of mounts()) {
    if (mount.version !== 1 || !mount.controllers.includes(controller)) continue;
    const found = existing(mount.mountPoint, mount.root, path);
    if (found !== undefined) return found;
  }
  return undefined;
}

function findV2(
  path: string,
  cgroupRoot: string,
  mounts: () => readonly CgroupMount[],
): string | undefined {
  if (existsSync(`${cgroupRoot}/cgroup.controllers`)) {
    const usual = existing(cgroupRoot, "/", path);
    if (usual !== undefined) return usual;
  }
  for (const mount of mounts()) {
    if (mount.version !== 2) continue;
    const found = existing(mount.mountPoint, mount.root, path);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The directory of `path` under a mount that shows the hierarchy from `root` on, if it exists. */
function existing(mountPoint: string, root: string, path: string): string | undefined {
  const base = root === "/" ? "" : root;
  if (path !== root && !path.startsWith(`${base}/`)) return undefined;
  const inside = path === root ? "" : path.slice(base.length);
  // Paths of another cgroup namespace begin with "/..": they would lead out of the mount.
  if (inside.split("/").includes("..")) return undefined;
  const directory = mountPoint + (inside === "/" ? "" : inside);
  return existsSync(directory) ? directory : undefined;
}

function isExiting(processDirectory: string): boolean {
  const stat = readOptional(`${processDirectory}/stat`);
  return stat === undefined || (Number(parseStat(stat).flags) & PF_EXITING) !== 0;
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT", "ESRCH", "ENODEV")) return undefined;
    throw error;
  }
}
