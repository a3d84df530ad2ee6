/** User namespaces as carriers of an id mapping (user_namespaces(7)). */

import { writeFileSync } from "node:fs";
import type { Children } from "./children.ts";
import { CLONE_NEWUSER } from "./copy.ts";
import { O_RDONLY, type OwnedFd, openFd } from "./fd.ts";
import { SIGKILL } from "./signals.ts";
import { readText } from "./text-file.ts";

/** Far longer than two writes and an open take; if this process dies in between, the copy exits by itself. */
const CARRIER_SECONDS = 10;
/** The mapping of the initial user namespace. */
const WHOLE_RANGE = /^\s*0\s+0\s+4294967295\s*$/;

/** One line of uid_map or gid_map. */
export interface IdRange {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

/**
 * Makes a user namespace with these mappings and returns a descriptor that keeps it alive.
 *
 * A copy of this process is born into the namespace, the mapping is written, and the copy is killed.
 * Throws SystemError or an error of node:fs: EINVAL for ranges that overlap, EPERM.
 */
export async function openUserNamespace(
  children: Children,
  uids: readonly IdRange[],
  gids: readonly IdRange[],
): Promise<OwnedFd> {
  const carrier = children.copy({ call: "sleep", seconds: CARRIER_SECONDS }, CLONE_NEWUSER);
  try {
    writeFileSync(`/proc/${carrier.pid}/uid_map`, mapText(uids));
    writeFileSync(`/proc/${carrier.pid}/gid_map`, mapText(gids));
    return openFd(`/proc/${carrier.pid}/ns/user`, O_RDONLY);
  } finally {
    carrier.signal(SIGKILL);
    await carrier.exited;
  }
}

function mapText(ranges: readonly IdRange[]): string {
  return ranges.map(({ inside, outside, count }) => `${inside} ${outside} ${count}\n`).join("");
}

/** Whether this process is in a user namespace other than the initial one: some mount flags are locked there. */
export function isInUserNamespace(): boolean {
  const map = readText("/proc/self/uid_map");
  // A kernel without user namespaces has no such file.
  return map !== undefined && !WHOLE_RANGE.test(map);
}
