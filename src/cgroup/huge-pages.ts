/** Which sizes of huge pages the kernel offers, spelled as in the names of the hugetlb files. */

import { readdirSync } from "node:fs";
import { hasCode } from "../linux/errno.ts";

/** Where the kernel lists them: one directory `hugepages-<n>kB` per size. */
export const HUGE_PAGES_DIRECTORY = "/sys/kernel/mm/hugepages";

const PREFIX = "hugepages-";
const SUFFIX = "kB";
const UNITS = ["KB", "MB", "GB"];

/** The sizes found in `directory`: "64KB", "2MB", "1GB". Empty when the kernel has none. */
export function hugePageSizes(directory: string): readonly string[] {
  let names: readonly string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENOTDIR")) return [];
    throw error;
  }
  return [...names].sort().flatMap((name) => {
    if (!name.startsWith(PREFIX) || !name.endsWith(SUFFIX)) return [];
    let size = Number(name.slice(PREFIX.length, -SUFFIX.length));
    if (!Number.isSafeInteger(size) || size <= 0) return [];
    let unit = 0;
    while (size >= 1024 && unit < UNITS.length - 1) {
      size = Math.floor(size / 1024);
      unit++;
    }
    return [`${size}${UNITS[unit] ?? ""}`];
  });
}
