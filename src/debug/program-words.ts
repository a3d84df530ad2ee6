/** The words of the whole command, as plain data: what completions and the man page are written from. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { type Example, examplesOf } from "./verb.ts";

export interface Flag {
  /** "--json". */
  readonly long: string;
  /** "-n"; undefined without one. */
  readonly short: string | undefined;
  /** "<name>"; undefined for a flag alone. */
  readonly value: string | undefined;
  readonly choices: readonly string[];
  readonly description: string;
}

export interface VerbWords {
  readonly name: string;
  /** "Run:", as a heading. */
  readonly group: string;
  readonly summary: string;
  /** Paragraphs, each in one line. */
  readonly description: string;
  /** "[options] <container>". */
  readonly usage: string;
  readonly flags: readonly Flag[];
  /** The first argument is the name of a container. */
  readonly takesContainer: boolean;
  readonly examples: readonly Example[];
}

/** All verbs, in the order of the help. */
export function describeProgram(program: CommandUnknownOpts): readonly VerbWords[] {
  return program.commands.map((command) => ({
    name: command.name(),
    group: command.helpGroup(),
    summary: command.summary(),
    description: command.description(),
    usage: command.usage(),
    flags: [
      ...command.options.map(({ long, short, flags, argChoices, description }) => ({
        long: long ?? "",
        short: short ?? undefined,
        value: /<[^>]+>/.exec(flags)?.[0],
        choices: argChoices ?? [],
        description,
      })),
      { long: "--help", short: "-h", value: undefined, choices: [], description: "show this" },
    ],
    takesContainer: command.registeredArguments[0]?.name() === "container",
    examples: examplesOf(command),
  }));
}
