/** How readily the kernel kills a process when memory runs out (proc(5), oom_score_adj). */

import { readFileSync, writeFileSync } from "node:fs";
import { hasCode } from "./errno.ts";

/** The kernel refuses more. */
const SCORE_MAX = 1000;

/**
 * Makes `pid` a little more likely to be chosen than `parent`: containerd must be the last to go.
 *
 * False where the kernel refuses it: without CAP_SYS_RESOURCE no process may lower a score, which
 * is what an unprivileged user's containerd comes to. Throws what node:fs throws otherwise.
 */
export function followOomScore(pid: number, parent: number): boolean {
  const score = Number.parseInt(readFileSync(`/proc/${parent}/oom_score_adj`, "utf8"), 10);
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, String(Math.min(score + 1, SCORE_MAX)));
    return true;
  } catch (error) {
    if (hasCode(error, "EACCES", "EPERM")) return false;
    throw error;
  }
}
