/** `shim attach`: takes the place of an absent client. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "take the place of a container's client",
  description: `Connects this terminal, or stdin, stdout and stderr, to the FIFOs that a container was given for its
streams, until it ends; the exit code is the container's. Ctrl-P Ctrl-Q detaches from a terminal.

Output that somebody else still reads is shared with them: each byte goes to one reader only.`,
  examples: [
    { line: "shim attach web", what: "for instance a terminal left by shim run --tty --detach" },
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
