/** Which processes are in a container's cgroup, and in those below it. */

import { readdirSync, readFileSync } from "node:fs";
import { ShimError } from "../base/error.ts";
import { hasCode } from "../linux/errno.ts";
import type { CgroupLocation } from "./cgroup.ts";

const PROCS_FILE = "cgroup.procs";
const THREADS_FILE = "cgroup.threads";
/**
 * The hierarchies to ask on v1, in order. A runtime puts every process into all of them; devices
 * comes first because runc asks there too, and nobody moves processes around in it.
 */
const PREFERRED = ["devices", "pids", "freezer", "memory", "name=systemd"];

/**
 * All process ids except zombies', in the order in which a walk finds them, each once.
 * Throws ShimError `notFound` when the cgroup is gone. Cgroups that vanish during the walk are not an error.
 */
export function cgroupPids(location: CgroupLocation, procRoot = "/proc"): readonly number[] {
  const top = topDirectory(location);
  const pids = new Set<number>();
  if (top === undefined || !collect(top, pids, procRoot)) {
    throw new ShimError("notFound", "cgroup does not exist");
  }
  return [...pids];
}

function topDirectory(location: CgroupLocation): string | undefined {
  if (location.version === 2) return location.path;
  for (const controller of PREFERRED) {
    const directory = location.paths[controller];
    if (directory !== undefined) return directory;
  }
  return Object.values(location.paths)[0];
}

/** Adds what is in `directory` and below; false when it does not exist. */
function collect(directory: string, pids: Set<number>, procRoot: string): boolean {
  const own = readProcesses(directory, procRoot);
  if (own === undefined) return false;
  for (const pid of own) pids.add(pid);
  for (const child of childCgroups(directory)) collect(`${directory}/${child}`, pids, procRoot);
  return true;
}

/** The names of the cgroups directly below `directory`; none when it does not exist. */
export function childCgroups(directory: string): readonly string[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true });
    return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])).sort();
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENODEV")) return [];
    throw error;
  }
}

function readProcesses(directory: string, procRoot: string): readonly number[] | undefined {
  try {
    return parseIds(readFileSync(`${directory}/${PROCS_FILE}`, "latin1"));
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENODEV")) return undefined;
    // A threaded cgroup of v2 refuses this file: its processes may have threads elsewhere.
    if (hasCode(error, "EOPNOTSUPP", "ENOTSUP")) return readThreads(directory, procRoot);
    throw error;
  }
}

function readThreads(directory: string, procRoot: string): readonly number[] | undefined {
  try {
    const threads = parseIds(readFileSync(`${directory}/${THREADS_FILE}`, "latin1"));
    return threads.flatMap((thread) => processOf(thread, procRoot) ?? []);
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENODEV")) return undefined;
    throw error;
  }
}

/** The process of a thread; undefined when it has ended. */
function processOf(thread: number, procRoot: string): number | undefined {
  try {
    const status = readFileSync(`${procRoot}/${thread}/status`, "latin1");
    const line = status.split("\n").find((text) => text.startsWith("Tgid:"));
    return line === undefined ? undefined : parseIds(line.slice("Tgid:".length))[0];
  } catch (error) {
    if (hasCode(error, "ENOENT", "ESRCH")) return undefined;
    throw error;
  }
}

/** Positive numbers, one per line. 0 stands for a process outside our pid namespace: no use to anyone. */
function parseIds(text: string): readonly number[] {
  return text.split("\n").flatMap((line) => {
    const id = Number(line);
    return Number.isSafeInteger(id) && id > 0 ? [id] : [];
  });
}
