/** `-v`: the version for people, on stdout. */

import { executableName, revision, version } from "../version.ts";
import { writeOutput } from "./invocation/stream.ts";

/** Prints and returns the exit code. */
export function printVersion(): number {
  const lines = [
    `${executableName}:`,
    `  Version:  ${version}`,
    `  Revision: ${revision}`,
    `  Bun:      ${Bun.version}`,
  ];
  writeOutput(1, `${lines.join("\n")}\n`);
  return 0;
}
