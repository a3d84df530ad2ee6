/** The command lines of the programs that a shim executes. */

import { basename, dirname, join } from "node:path";
import { commandLine } from "../linux/program.ts";
import { debugCommandName, executableName } from "../version.ts";

/** How the present program was started. */
export interface Invoked {
  /** How many words of its command line name it. */
  readonly ownWordCount: number;
  /** The words after those: what the shim is started with. */
  readonly flags: readonly string[];
  /** Its path on disk, where a new one may appear. */
  readonly ownPath: string;
}

/** The command line of this very program. */
export function ownWords({ ownWordCount, flags }: Invoked): readonly string[] {
  return [...commandLine().slice(0, ownWordCount), ...flags];
}

/** The words that name the program at `path`, which is to be a shim; its flags follow. */
export function wordsFor(path: string, { ownWordCount, ownPath }: Invoked): readonly string[] {
  if (path === ownPath) return commandLine().slice(0, ownWordCount);
  // Under its short name it would be the debugging command.
  return [basename(path) === debugCommandName ? join(dirname(path), executableName) : path];
}
