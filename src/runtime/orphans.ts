/**
 * Runtime processes that have outlived the shim that ran them.
 *
 * A shim that is killed takes none of them with it, and one that hangs would never end: its deadline has died
 * with the shim. While a call runs, its log file is in the bundle, under a name that no other call has, and is
 * a word of the runtime's command line: a process with that word belongs to that call.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openPidfd, signalProcessGroup } from "../linux/pidfd.ts";
import { waitUntilReady } from "../linux/poll.ts";
import { readStat } from "../linux/proc-stat.ts";
import { SIGKILL } from "../linux/signals.ts";

/** A name as `runc.ts` gives it, with the pid of the process that made the call. */
const LOG_NAME = /^runtime-[a-z]+-log-(\d+)-.*\.json$/;

/**
 * Kills what still runs of calls whose logs are in `bundle` and whose shims are gone, hooks and wrappers too,
 * and waits at most `limitMs` for each. Without such a log it reads no process's command line. Never throws.
 */
export function killOrphans(bundle: string, limitMs: number): void {
  const callers = readCallers(bundle);
  if (callers.size === 0) return;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      killIfOrphan(Number(name), callers, limitMs);
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** The pids of the processes that made the calls, by the paths of the logs. */
function readCallers(bundle: string): ReadonlyMap<string, number> {
  try {
    const found = readdirSync(bundle).map((name) => LOG_NAME.exec(name));
    return new Map(
      found.flatMap((match) => (match ? [[join(bundle, match[0]), Number(match[1])]] : [])),
    );
  } catch {
    return new Map(); // The bundle is gone.
  }
}

function killIfOrphan(pid: number, callers: ReadonlyMap<string, number>, limitMs: number): void {
  const caller = callerOf(pid, callers);
  if (caller === undefined) return;
  using pidfd = openPidfd(pid);
  // Only once the descriptor refers to the process does its command line prove whose it is.
  if (callerOf(pid, callers) !== caller) return;
  const group = Number(readStat(`/proc/${pid}`)?.pgrp);
  const leader = readStat(`/proc/${group}`);
  // The shim's own child leads the group; as long as the shim lives, ending it is the shim's business.
  if (Number(leader?.ppid) === caller) return;
  // Somebody who looks into the log has its path among his words too, but not the leader of his group.
  if (leader !== undefined && callerOf(group, callers) !== caller) return;
  signalProcessGroup(group, SIGKILL);
  if (pidfd !== undefined) waitUntilReady(pidfd.fd, "readable", limitMs);
}

function callerOf(pid: number, callers: ReadonlyMap<string, number>): number | undefined {
  for (const word of readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")) {
    const caller = callers.get(word);
    if (caller !== undefined) return caller;
  }
  return undefined;
}
