/**
 * CRIU settings that runtimes have no flags for: a configuration file that CRIU finds through its
 * environment, which it gets from the runtime, and the runtime from us (criu(8), CRIU_CONFIG_FILE).
 */

import { readText } from "../linux/text-file.ts";

const VARIABLE = "CRIU_CONFIG_FILE=";

/** The text of a configuration with `lines`, after what the user's own file says. */
export function criuConfigText(environment: readonly string[], lines: readonly string[]): string {
  const own = environment.findLast((entry) => entry.startsWith(VARIABLE))?.slice(VARIABLE.length);
  // CRIU itself ignores one that it cannot read.
  const before = own ? [readText(own) ?? ""] : [];
  return `${[...before, ...lines].join("\n")}\n`;
}

/** `environment` with the configuration at `path`. */
export function withCriuConfig(environment: readonly string[], path: string): readonly string[] {
  return [...environment.filter((entry) => !entry.startsWith(VARIABLE)), `${VARIABLE}${path}`];
}
