/** How likely the kernel is to kill a process when memory runs out (proc(5), oom_score_adj). */

import { readFileSync, writeFileSync } from "node:fs";
import { hasCode } from "./errno.ts";
import { O_RDWR, type OwnedFd, openFd, readFd, writeFd } from "./fd.ts";

/** The kernel refuses more. */
const SCORE_MAX = 1000;
/** A number, its sign, and a newline. */
const SCORE_BYTES_MAX = 16;

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
 * Gives this process `score` until the result is disposed, which never throws: by then something may have been
 * started that must not get lost. What the kernel refuses stays as it is. Throws SystemError: EMFILE, ENFILE.
 */
export function lendOomScore(score: number): Disposable {
  using undo = new DisposableStack();
  const file = undo.use(openOwnScore());
  const own = file && Number.parseInt(readText(file.fd), 10);
  if (file === undefined || own === score) return undo.move();
  const write = (value: number | undefined) => {
    try {
      writeFd(file.fd, Buffer.from(String(value)));
    } catch {
      // Without CAP_SYS_RESOURCE.
    }
  };
  write(score);
  undo.defer(() => write(own));
  return undo.move();
}

/** Undefined where it cannot be changed: a process that forbids dumps owns none of its files in /proc. */
function openOwnScore(): OwnedFd | undefined {
  try {
    return openFd("/proc/self/oom_score_adj", O_RDWR);
  } catch (error) {
    if (hasCode(error, "EACCES", "EPERM")) return undefined;
    throw error;
  }
}

function readText(fd: number): string {
  const buffer = Buffer.alloc(SCORE_BYTES_MAX);
  const count = readFd(fd, buffer);
  return buffer.toString("latin1", 0, count === "again" ? 0 : count);
}

/**
 * Makes `pid` a little more likely to be killed than `parent`: containerd must be the last to go. False
 * where the kernel refuses, as for an unprivileged user. Throws what node:fs throws otherwise.
 */
export function followOomScore(pid: number, parent: number): boolean {
  return writeOomScore(pid, Math.min(readOomScore(parent) + 1, SCORE_MAX));
}
