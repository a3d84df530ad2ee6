/** The processes in a pid namespace (pid_namespaces(7)). */

import { readdirSync, readlinkSync } from "node:fs";

/**
 * The processes in the pid namespace of process `pid`, without those in namespaces below it; none when
 * it is gone. Looks at every process on the machine, so only for use where nothing better is known.
 */
export function pidNamespaceMembers(pid: number): readonly number[] {
  const namespace = namespaceOf(pid);
  if (namespace === undefined) return [];
  return readdirSync("/proc")
    .map(Number)
    .filter((other) => other > 0 && namespaceOf(other) === namespace);
}

/** Undefined for a process that is gone, or is not ours to look at. */
function namespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
}
