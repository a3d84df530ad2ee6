/** The environment of a runtime process, and the search for its executable there. Pure but for the search. */

import { accessSync, constants, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { messageOf } from "../base/error.ts";
import { hasCode } from "../linux/errno.ts";

/**
 * Removed: NOTIFY_SOCKET makes a runtime wait for sd_notify(3) from the container; LISTEN_* is about
 * descriptors that we do not pass on (sd_listen_fds(3)).
 */
export const REMOVED_VARIABLES: readonly string[] = [
  "NOTIFY_SOCKET",
  "LISTEN_FDS",
  "LISTEN_PID",
  "LISTEN_FDNAMES",
];

/**
 * Settings of the engine and of the allocator that this program is built on, which would also affect other programs built
 * on them; what `start` tells the daemon about its children, and who launched it.
 */
export const REMOVED_PREFIXES = ["BUN_", "MIMALLOC_", "WEDGE_CHILD_", "WEDGE_LAUNCHER"] as const;

/**
 * `environment` as a runtime may have it: without {@link REMOVED_VARIABLES} and {@link REMOVED_PREFIXES}, and with only absolute
 * directories in LD_LIBRARY_PATH. An empty entry there (a trailing colon) means the working directory
 * (ld.so(8)), which for a runtime is the bundle.
 */
export function scrubEnvironment(environment: readonly string[]): readonly string[] {
  const kept: string[] = [];
  for (const entry of environment) {
    const [name, value] = splitEntry(entry);
    if (name === "" || REMOVED_VARIABLES.includes(name)) continue;
    if (REMOVED_PREFIXES.some((prefix) => name.startsWith(prefix))) continue;
    if (name !== "LD_LIBRARY_PATH") {
      kept.push(entry);
      continue;
    }
    const directories = value.split(/[:;]/).filter((directory) => isAbsolute(directory));
    if (directories.length > 0) kept.push(`${name}=${directories.join(":")}`);
  }
  return kept;
}

/** Where a command was found, or why not, in the wording that Go's exec package has established. */
export type Lookup =
  | { readonly kind: "found"; readonly path: string }
  | { readonly kind: "missing"; readonly message: string };

/**
 * Finds the executable for `command`: an absolute path as it is, a bare name in the PATH of
 * `environment` (only its absolute directories). The command is quoted in `message`, and the wording is
 * fixed: engines turn it into exit codes 126 and 127.
 */
export function findExecutable(command: string, environment: readonly string[]): Lookup {
  if (isAbsolute(command)) {
    const refusal = refusalOf(command);
    if (refusal === undefined) return { kind: "found", path: command };
    return { kind: "missing", message: `exec: "${command}": ${refusal}` };
  }
  if (command === "" || command.includes("/")) {
    const advice = "name the runtime by an absolute path, or by a name to look up in $PATH";
    return { kind: "missing", message: `exec: "${command}": ${advice}` };
  }
  for (const directory of pathOf(environment).split(":")) {
    const path = join(directory, command);
    if (isAbsolute(directory) && refusalOf(path) === undefined) return { kind: "found", path };
  }
  return { kind: "missing", message: `exec: "${command}": executable file not found in $PATH` };
}

/** Why `path` cannot be executed, or undefined. */
function refusalOf(path: string): string | undefined {
  try {
    if (statSync(path).isDirectory()) return "is a directory";
    accessSync(path, constants.X_OK);
    return undefined;
  } catch (thrown) {
    if (hasCode(thrown, "ENOENT", "ENOTDIR")) return `stat ${path}: no such file or directory`;
    if (hasCode(thrown, "EACCES", "EPERM")) return "permission denied";
    return messageOf(thrown);
  }
}

/** The last PATH counts, as it does for getenv(3) after an execve of what a shell has put together. */
function pathOf(environment: readonly string[]): string {
  return environment.findLast((entry) => entry.startsWith("PATH="))?.slice("PATH=".length) ?? "";
}

function splitEntry(entry: string): readonly [name: string, value: string] {
  const at = entry.indexOf("=");
  return at < 0 ? [entry, ""] : [entry.slice(0, at), entry.slice(at + 1)];
}
