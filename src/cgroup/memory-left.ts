/** How much memory the cgroup of this process leaves it. */

import { dirname, join } from "node:path";
import { readText } from "../linux/text-file.ts";
import { type CgroupRoots, parseMemberships, SYSTEM_ROOTS } from "./cgroup.ts";

const KILOBYTE = 1024;

/**
 * In kilobytes: the limit minus usage, page cache included, of the cgroup and of its ancestors, whichever
 * is least. Infinity without a limit, or where nothing can be read.
 */
export function ownKilobytesLeft(roots: CgroupRoots = SYSTEM_ROOTS): number {
  const memberships = parseMemberships(readText(`${roots.proc}/self/cgroup`) ?? "");
  const v1 = memberships.find(({ controllers }) => controllers.includes("memory"));
  const unified = memberships.find(({ controllers }) => controllers.length === 0);
  const top = v1 ? `${roots.cgroup}/memory` : roots.cgroup;
  const [limit, usage] = v1
    ? ["memory.limit_in_bytes", "memory.usage_in_bytes"]
    : ["memory.max", "memory.current"];
  let least = Number.POSITIVE_INFINITY;
  for (let path = (v1 ?? unified)?.path ?? "/"; ; path = dirname(path)) {
    const bytes = readNumber(join(top, path, limit)) - readNumber(join(top, path, usage));
    if (bytes / KILOBYTE < least) least = bytes / KILOBYTE;
    if (path === "/" || path === ".") return least;
  }
}

/** NaN for the word "max", and for a missing file. */
function readNumber(path: string): number {
  return Number(readText(path)?.trim() ?? "none");
}
