/** `shim help`: the program, a verb, or a topic. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { TOPICS } from "../help-topics.ts";
import { usageError } from "../refusal.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "explain a verb or a topic",
  description: `Shows the help of the program, of a verb, or of a topic: ${[...TOPICS.keys()].join(", ")}.`,
  examples: [
    { line: "shim help ps", what: "the flags of shim ps" },
    { line: "shim help exit-codes", what: "what the exit codes mean" },
    { line: "shim help names", what: "how a container is named" },
  ],
};

export function help(context: Context): CommandUnknownOpts {
  return newVerb("help", TEXT)
    .argument("[topic]", "a verb or a topic")
    .action((topic, _flags, command) => {
      const program = command.parent;
      if (topic === undefined) return program?.outputHelp();
      const text = TOPICS.get(topic);
      if (text !== undefined) return context.output.print(text);
      const verb = program?.commands.find((candidate) => candidate.name() === topic);
      if (verb !== undefined) return verb.outputHelp();
      const topics = [...TOPICS.keys()].join(", ");
      throw usageError(
        `No verb or topic ${JSON.stringify(topic)}; topics are ${topics}, verbs are listed by shim --help`,
      );
    });
}
