/** The debugging command, `shim`: which verb answers, and how it fails. One file per verb. */

import { writeSync } from "node:fs";
import { messageOf } from "../base/error.ts";
import { EXIT_FAILURE, EXIT_USAGE, Refusal } from "./refusal.ts";
import { RUN_HELP } from "./run-options.ts";
import type { Variables } from "./run-plan.ts";

type Verb = (args: readonly string[], variables: Variables) => Promise<number>;

/** By the first word; loaded when called for. Without one of these it is `run`. */
const VERBS: ReadonlyMap<string, () => Promise<Verb>> = new Map([
  ["run", async () => (await import("./run.ts")).run],
]);
const DEFAULT_VERB = "run";

/** `args` without the program itself. Returns the exit code; failures are one line on stderr. */
export async function shim(args: readonly string[], variables: Variables): Promise<number> {
  const [word] = args;
  if (word === undefined) {
    writeSync(2, RUN_HELP);
    return EXIT_USAGE;
  }
  const isVerb = VERBS.has(word);
  const load = VERBS.get(isVerb ? word : DEFAULT_VERB);
  try {
    const verb = await load?.();
    return (await verb?.(isVerb ? args.slice(1) : args, variables)) ?? EXIT_FAILURE;
  } catch (error) {
    writeSync(2, `shim: ${messageOf(error).replaceAll("\n", " ")}\n`);
    return error instanceof Refusal ? error.exitCode : EXIT_FAILURE;
  }
}
