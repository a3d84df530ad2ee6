/** What a process costs in memory (proc(5), smaps_rollup). */

import { readText } from "../../linux/text-file.ts";

const BYTES_PER_KIB = 1024;

/** In bytes. */
export interface ProcessMemory {
  /** Its own pages, and its share of those that it shares. */
  readonly pss: number;
  /** What would be free without it. */
  readonly private: number;
  readonly rss: number;
}

/** Undefined when the process has ended, or is another user's. */
export function readMemory(pid: number): ProcessMemory | undefined {
  const text = readText(`/proc/${pid}/smaps_rollup`);
  if (text === undefined || text === "") return undefined;
  const bytesOf = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0) * BYTES_PER_KIB;
  return {
    pss: bytesOf("Pss"),
    private: bytesOf("Private_Clean") + bytesOf("Private_Dirty"),
    rss: bytesOf("Rss"),
  };
}
