/** How likely the kernel is to kill a process when memory runs out (proc(5), oom_score_adj). */

import { readFileSync, writeFileSync } from "node:fs";
import { hasCode } from "./errno.ts";

/** The kernel refuses more. */
const SCORE_MAX = 1000;

/** Throws what node:fs throws: ENOENT for a process that is gone or cannot be seen. */
export function readOomScore(pid: number | "self"): number {
  return Number.parseInt(readFileSync(`/proc/${pid}/oom_score_adj`, "utf8"), 10);
}

/**
 * False where the kernel refuses: without CAP_SYS_RESOURCE no process may lower a score below what it was
 * given. Throws what node:fs throws otherwise.
 */
export function writeOomScore(pid: number | "self", score: number): boolean {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, String(score));
    return true;
  } catch (error) {
    if (hasCode(error, "EACCES", "EPERM")) return false;
    throw error;
  }
}

/**
 * Makes `pid` a little more likely to be killed than `parent`: containerd must be the last to go. False
 * where the kernel refuses, as for an unprivileged user. Throws what node:fs throws otherwise.
 */
export function followOomScore(pid: number, parent: number): boolean {
  return writeOomScore(pid, Math.min(readOomScore(parent) + 1, SCORE_MAX));
}
