/**
 * What a verb of the debugging command is: a command of the parser with its flags, help and examples.
 *
 * One file per verb in `verb/`, listed in `verbs.ts`. A verb throws a Refusal for everything that goes
 * wrong, prints through the context, and leaves its exit code there if that is not 0.
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { Variables } from "../base/variables.ts";
import type { Output } from "./output/output.ts";

/** What every verb is given. */
export interface Context {
  readonly variables: Variables;
  readonly output: Output;
  /** The exit code once the verb has returned. */
  exitCode: number;
}

/** Makes the command of a verb. Its action does the work; nothing is done before. */
export type Verb = (context: Context) => CommandUnknownOpts;

/** A line to type, and what it is good for. */
export interface Example {
  readonly line: string;
  readonly what: string;
}

/** The text about a verb; the parser adds flags and arguments. */
export interface VerbText {
  /** Half a line for the list of verbs: lower case, no full stop. */
  readonly summary: string;
  /** Paragraphs. */
  readonly description: string;
  readonly examples: readonly Example[];
}

const examples = new WeakMap<CommandUnknownOpts, readonly Example[]>();

/** A command with its help, to be given flags, arguments and an action. */
export function newVerb(name: string, text: VerbText): Command {
  const command = new Command(name)
    .summary(text.summary)
    .description(unwrap(text.description))
    .addHelpText("after", () => formatExamples(text.examples));
  examples.set(command, text.examples);
  return command;
}

/** The examples that a verb was made with. */
export function examplesOf(command: CommandUnknownOpts): readonly Example[] {
  return examples.get(command) ?? [];
}

/** The lines of a paragraph as one: the parser wraps them at the terminal's width. */
function unwrap(paragraphs: string): string {
  return paragraphs.replace(/(?<!\n)\n(?!\n)/g, " ");
}

function formatExamples(list: readonly Example[]): string {
  const width = Math.max(...list.map(({ line }) => line.length));
  const lines = list.map(({ line, what }) => `  ${line.padEnd(width)}  # ${what}`);
  return ["", "Examples:", ...lines].join("\n");
}
