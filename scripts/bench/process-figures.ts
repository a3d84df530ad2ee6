/** What the kernel reports about a process: memory, threads, how often it woke. */

import { readdirSync, readFileSync } from "node:fs";

export interface MemoryFigures {
  /** Its share of what it maps, in kB: shared pages are divided by those who share them. */
  readonly pssKb: number;
  readonly rssKb: number;
  /**
   * What is free when it ends, however few of its kind there are. Pages of its executable are not
   * included, even while nobody else runs it, or while they are so new that they are not on disk yet.
   */
  readonly privateKb: number;
  readonly pageTablesKb: number;
  readonly threads: number;
}

export function readMemory(pid: number): MemoryFigures {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return {
    pssKb: field(rollup, "Pss"),
    rssKb: field(rollup, "Rss"),
    privateKb: field(rollup, "Anonymous"),
    pageTablesKb: field(status, "VmPTE"),
    threads: field(status, "Threads"),
  };
}

/** How often all its threads have given up the processor voluntarily: each time, one was woken. */
export function readWakeUps(pid: number): number {
  let count = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8");
    count += field(status, "voluntary_ctxt_switches");
  }
  return count;
}

function field(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1]);
}
