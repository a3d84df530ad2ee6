/** What the kernel says of a process in one line: /proc/PID/stat (proc_pid_stat(5)). */

import { readFileSync } from "node:fs";

/** Fields under the names that the manual has for them, as text: some are numbers of 64 bits. */
export interface ProcStat {
  readonly state: string;
  readonly ppid: string;
  readonly pgrp: string;
  readonly flags: string;
  /** Times in clock ticks. */
  readonly utime: string;
  readonly stime: string;
  readonly startTime: string;
  /** Addresses, which only those who may trace the process are shown. */
  readonly startCode: string;
  readonly endCode: string;
  readonly startStack: string;
  readonly startData: string;
  readonly endData: string;
  readonly startBrk: string;
  readonly argStart: string;
  readonly argEnd: string;
  readonly envStart: string;
  readonly envEnd: string;
}

/** The process with this directory under /proc; undefined when it cannot be read: mostly it has ended. */
export function readStat(directory: string): ProcStat | undefined {
  try {
    return parseStat(readFileSync(`${directory}/stat`, "latin1"));
  } catch {
    return undefined;
  }
}

export function parseStat(text: string): ProcStat {
  // The second field, a name in parentheses, may hold anything, spaces and parentheses too.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const field = (number: number) => fields[number - 3] ?? "";
  return {
    state: field(3),
    ppid: field(4),
    pgrp: field(5),
    flags: field(9),
    utime: field(14),
    stime: field(15),
    startTime: field(22),
    startCode: field(26),
    endCode: field(27),
    startStack: field(28),
    startData: field(45),
    endData: field(46),
    startBrk: field(47),
    argStart: field(48),
    argEnd: field(49),
    envStart: field(50),
    envEnd: field(51),
  };
}

/** Whether it is a zombie, or about to vanish. */
export function hasEnded({ state }: Pick<ProcStat, "state">): boolean {
  return state === "Z" || state === "X";
}
