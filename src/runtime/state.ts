/**
 * A runtime's on-disk state of a container, read without asking the runtime.
 *
 * Only three questions are answered: is there any, which process is init, and which containers have an
 * annotation. The first works for every runtime that keeps its state under its root by id (runc, crun,
 * youki, runsc); the others for those whose document is known.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { hasEnded, readStat } from "../linux/proc-stat.ts";

/** A process by pid and start time, which together are never reused within a boot. */
export interface InitIdentity {
  readonly pid: number;
  /** Clock ticks since boot (proc(5), `stat`, field 22). */
  readonly startTicks: number;
}

/** Documents, and their names for pid and start time: runc and youki; crun. */
const DOCUMENTS = [
  { file: "state.json", pid: "init_process_pid", start: "init_process_start" },
  { file: "status", pid: "pid", start: "process-start-time" },
] as const;

/** Whether the runtime keeps anything of `id` under `root` (the namespace included). */
export function hasRuntimeState(root: string, id: string): boolean {
  // A directory named after the id, or files whose names begin with it.
  return listNames(root).some(
    (name) => name === id || name.startsWith(`${id}.`) || name.startsWith(`${id}_`),
  );
}

/** The init that the runtime has recorded; undefined when the format is not known here. */
export function readInitIdentity(root: string, id: string): InitIdentity | undefined {
  for (const { file, pid, start } of DOCUMENTS) {
    const fields = readFields(join(root, id, file));
    const number = fields?.get(pid);
    const startTicks = fields?.get(start);
    if (typeof number === "number" && number > 0 && typeof startTicks === "number") {
      return { pid: number, startTicks };
    }
  }
  return undefined;
}

/** The containers under `root` that have this annotation, as far as runc's documents tell. */
export function findAnnotated(root: string, name: string, value: string): readonly string[] {
  return listNames(root).filter((id) => {
    const config = readFields(join(root, id, "state.json"))?.get("config");
    // It records each annotation as a label, `name=value`.
    const labels =
      typeof config === "object" && config !== null && "labels" in config ? config.labels : [];
    return Array.isArray(labels) && labels.includes(`${name}=${value}`);
  });
}

/** Whether exactly that process runs; a zombie does not. */
export function isAlive({ pid, startTicks }: InitIdentity): boolean {
  const stat = readStat(`/proc/${pid}`);
  return stat !== undefined && !hasEnded(stat) && Number(stat.startTime) === startTicks;
}

/** No root, no state. */
function listNames(root: string): readonly string[] {
  try {
    return readdirSync(root);
  } catch {
    return [];
  }
}

function readFields(path: string): ReadonlyMap<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (typeof value === "object" && value !== null) return new Map(Object.entries(value));
  } catch {
    // Missing, or half written: as good as unknown.
  }
  return undefined;
}
