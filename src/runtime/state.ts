/**
 * A runtime's on-disk state of a container, read without asking the runtime.
 *
 * Only three questions are answered: is there any, which process is init, and which containers have an
 * annotation. The first works for every runtime that keeps its state under its root by id (runc, crun,
 * youki, runsc); the others for those whose document is known.
 */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { member, numberMember, parseJson } from "../base/json.ts";
import { hasEnded, readStat } from "../linux/proc-stat.ts";
import { readText } from "../linux/text-file.ts";

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
    // Missing, or half written: as good as unknown.
    const document = parseJson(readText(join(root, id, file)));
    const number = numberMember(document, pid) ?? 0;
    const startTicks = numberMember(document, start);
    if (number > 0 && startTicks !== undefined) return { pid: number, startTicks };
  }
  return undefined;
}

/** The containers under `root` that have this annotation, as far as runc's documents tell. */
export function findAnnotated(root: string, name: string, value: string): readonly string[] {
  return listNames(root).filter((id) => {
    const document = parseJson(readText(join(root, id, "state.json")));
    // It records each annotation as a label, `name=value`.
    const labels = member(member(document, "config"), "labels");
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
