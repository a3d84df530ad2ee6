/** How much memory this process has to itself. */

import { readFileSync } from "node:fs";

const PAGE_KILOBYTES = 4;

/** Resident pages that belong to no file, in kilobytes (proc(5), statm): cheap to ask for. */
export function privateKilobytes(): number {
  const [, resident = 0, shared = 0] = readFileSync("/proc/self/statm", "utf8")
    .split(" ")
    .map(Number);
  return (resident - shared) * PAGE_KILOBYTES;
}
