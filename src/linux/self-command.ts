/** How this very program is run again: by `start` as the daemon, by the debugging command as a shim. */

import { basename, dirname, join } from "node:path";
import { debugCommandName, executableName } from "../version.ts";
import { OWN_PROGRAM, ownProgramFile } from "./program.ts";

/** Where Bun mounts the program inside a compiled executable. */
const COMPILED_PREFIX = "/$bunfs/";

/** For `spawnProcess`; the arguments follow `argv`. */
export interface SelfCommand {
  readonly path: string;
  readonly argv: readonly string[];
}

/** The command that runs this program again, compiled or from source, never as the debugging command. */
export function selfCommand(): SelfCommand {
  const file = ownProgramFile();
  // Replaced while it runs: the kernel still finds the running file, only not by name.
  const path = file.isDeleted ? OWN_PROGRAM : file.path;
  if (!Bun.main.startsWith(COMPILED_PREFIX)) return { path, argv: [path, Bun.main] };
  // Its name makes it the debugging command, and a copy may have no other name.
  const isDebug = basename(path) === debugCommandName;
  return { path, argv: [isDebug ? join(dirname(path), executableName) : path] };
}

/** The words of this process's command line that name the program: its path and, run from source, the script. */
export function countOwnWords(): number {
  return Bun.main.startsWith(COMPILED_PREFIX) ? 1 : 2;
}
