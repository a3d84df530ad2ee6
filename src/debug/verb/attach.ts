/** `shim attach`: the place of a client that is away. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "take the place of a container's client",
  description: `Connects this terminal, or stdin, stdout and stderr, to the FIFOs that a container was given as its own,
until it ends; the exit code is its own. Ctrl-P Ctrl-Q leaves a terminal to itself.

What somebody else still reads is shared with them: each byte of output goes to one reader alone.`,
  examples: [
    { line: "shim attach web", what: "a terminal that shim run --tty --detach has left, for one" },
  ],
};

export function attach(context: Context): CommandUnknownOpts {
  return newVerb("attach", TEXT)
    .argument("<container>", "see shim help names")
    .option("-n, --namespace <name>", "only in this namespace")
    .action(async (word, flags) => {
      const { attachTo } = await import("../exec-session.ts");
      context.exitCode = await attachTo(word, flags, context.output);
    });
}
