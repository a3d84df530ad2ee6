/** The parser of the debugging command: its rules for all verbs, its help, and its errors as Refusals. */

import { Command, CommanderError, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { debugCommandName, version } from "../version.ts";
import { EXIT_OK, usageError } from "./refusal.ts";
import type { Context } from "./verb.ts";
import { findVerb, GROUPS, type VerbEntry } from "./verbs.ts";

const DESCRIPTION = `Inspects containerd shims, wedge's and others, and runs bundles without a manager.

Without a verb, "run" is assumed: shim --id ID --bundle DIR [--runtime NAME].`;

/** Makes the program with these verbs. */
export async function makeProgram(
  entries: readonly VerbEntry[],
  context: Context,
): Promise<CommandUnknownOpts> {
  const program = new Command(debugCommandName)
    .description(DESCRIPTION)
    .usage("VERB [OPTION]... [ARGUMENT]...")
    .version(`${debugCommandName} of wedge ${version}`, "--version", "show the version")
    .helpOption("-h, --help", "show this")
    .helpCommand(false)
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .exitOverride()
    .configureHelp({ subcommandTerm: (command) => command.name() })
    .configureOutput({
      writeOut: (text) => context.output.print(text),
      // Reported by shim.ts, in one line, once the error has got there.
      writeErr: () => {},
    })
    .addHelpText(
      "after",
      "\nMore: shim help VERB, shim help exit-codes, shim help names. A verb's flags: shim VERB --help.",
    );
  for (const group of GROUPS) {
    for (const { load } of entries.filter((entry) => entry.group === group)) {
      const verb = await load();
      const command = verb(context).helpGroup(`${group}:`);
      command.helpOption("-h, --help", "show this").copyInheritedSettings(program);
      program.addCommand(command);
    }
  }
  return program;
}

/** Parses `words` and does what they ask for. Throws a Refusal, also for words that cannot be understood. */
export async function runProgram(
  program: CommandUnknownOpts,
  words: readonly string[],
): Promise<void> {
  try {
    await program.parseAsync(words, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === EXIT_OK) return; // Help or the version, which has been shown.
    const [verb = ""] = words;
    const message = error.message.replace(/^error: /, "").trim();
    const where = findVerb(verb) === undefined ? "shim --help" : `shim ${verb} --help`;
    throw usageError(`${message}; see ${where}`, { cause: error });
  }
}
