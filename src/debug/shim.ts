/** The debugging command, `shim`: which verb answers, and how it fails. One file per verb in `verb/`. */

import { existsSync } from "node:fs";
import { messageOf } from "../base/error.ts";
import type { Variables } from "../base/variables.ts";
import { hasCode } from "../linux/errno.ts";
import { Output } from "./output/output.ts";
import { makeProgram, runProgram } from "./program.ts";
import { EXIT_FAILURE, EXIT_OK, EXIT_SIGNAL, EXIT_USAGE, Refusal } from "./refusal.ts";
import { withTwoDashes } from "./run/run-options.ts";
import type { Context } from "./verb.ts";
import { findVerb, VERBS, type VerbEntry } from "./verbs.ts";

const SIGPIPE = 13;
const DEFAULT_VERB = "run";
/** Flags of the program itself. */
const OWN_FLAGS: ReadonlySet<string> = new Set(["-h", "--help", "--version"]);

/** `args` without the program itself. Returns the exit code; failures are one line on stderr. */
export async function shim(args: readonly string[], variables: Variables): Promise<number> {
  const output = new Output(variables);
  const context: Context = { variables, output, exitCode: EXIT_OK };
  try {
    const { entries, words } = choose(args);
    const program = await makeProgram(entries, context);
    if (args.length > 0) await runProgram(program, words);
    else {
      output.print(program.helpInformation());
      context.exitCode = EXIT_USAGE;
    }
    return context.exitCode;
  } catch (error) {
    // The reader has seen enough: not a failure, and nobody to tell.
    if (hasCode(error, "EPIPE")) return EXIT_SIGNAL + SIGPIPE;
    output.fail(messageOf(error));
    return error instanceof Refusal ? error.exitCode : EXIT_FAILURE;
  }
}

/** The verbs to load for these words: one, or all for words that are about the program itself. */
function choose(args: readonly string[]): {
  readonly entries: readonly VerbEntry[];
  readonly words: readonly string[];
} {
  const [word = ""] = args;
  const words = findVerb(word) === undefined && isRun(args) ? [DEFAULT_VERB, ...args] : args;
  const named = findVerb(words[0] ?? "");
  return {
    entries: named === undefined || named.isAboutAll ? VERBS : [named],
    words: named?.name === DEFAULT_VERB ? words.map(withTwoDashes) : words,
  };
}

/** Without a verb, flags are those of `run`; so are an id and a bundle given as arguments. */
function isRun([word = "", next = ""]: readonly string[]): boolean {
  if (word.startsWith("-")) return !OWN_FLAGS.has(word);
  return next !== "" && !next.startsWith("-") && existsSync(next);
}
