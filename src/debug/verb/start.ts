/** `shim start`: starts a created process. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { onContainer } from "../managed.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "start a created container",
  description:
    "Starts a container that was created and not started yet, or an exec of it. Prints its pid.",
  examples: [{ line: "shim start web", what: "start it, and print the pid" }],
};

export function start({ output }: Context): CommandUnknownOpts {
  return newVerb("start", TEXT)
    .argument("<container>", "see shim help names")
    .option("-n, --namespace <name>", "only in this namespace")
    .option("--exec <id>", "an exec of the container, not its init", "")
    .action(async (word, flags) => {
      const { pid } = await onContainer(
        word,
        flags,
        "start",
        async ({ task, id }) => await task.start({ id, execId: flags.exec }),
      );
      output.print(`${pid}\n`);
    });
}
