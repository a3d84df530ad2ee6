/** What this process asks of the kernel about itself. */

import { readdirSync } from "node:fs";
import { check } from "./errno.ts";
import { selfTable } from "./libc.ts";

/** The pid of this process now: the engine keeps the one that it began with (`linux/new-process.ts`). */
export function ownPid(): number {
  return selfTable().getpid();
}

/** How many threads this process has. Needs /proc. */
export function countThreads(): number {
  return readdirSync("/proc/self/task").length;
}

const PR_SET_CHILD_SUBREAPER = 36;

/** Makes orphaned descendants ours, so that their exits reach us (prctl(2)). */
export function becomeSubreaper(): void {
  check("prctl(PR_SET_CHILD_SUBREAPER)", selfTable().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
}

const PR_SET_DUMPABLE = 4;

/**
 * Keeps this process's memory private: no core file is written, and no process without CAP_SYS_PTRACE may
 * trace it or look into its /proc directory (prctl(2), PR_SET_DUMPABLE). A program that it executes starts
 * afresh.
 */
export function forbidDumps(): void {
  check("prctl(PR_SET_DUMPABLE)", selfTable().prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
}

const PR_GET_DUMPABLE = 3;

/** Whether {@link forbidDumps} has not been called. */
export function isDumpable(): boolean {
  return check("prctl(PR_GET_DUMPABLE)", selfTable().prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)) !== 0;
}

const PR_SCHED_CORE = 62;
const PR_SCHED_CORE_CREATE = 1;
const PR_SCHED_CORE_SCOPE_PROCESS_GROUP = 2;

/**
 * Gives this process group, and everything that it starts, a core scheduling cookie of its own: no
 * stranger shares a core's threads with them (prctl(2)). Throws SystemError: EINVAL or ENODEV where the
 * kernel or the processor does not support it.
 */
export function isolateCoreScheduling(): void {
  check(
    "prctl(PR_SCHED_CORE)",
    selfTable().prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, PR_SCHED_CORE_SCOPE_PROCESS_GROUP, 0),
  );
}
