/** `shim resume`: lets a frozen container go on. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { onContainer } from "../managed.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "let a frozen container go on",
  description: "Lets the processes of a container go on that shim pause has frozen.",
  examples: [{ line: "shim resume web", what: "go on" }],
};

export function resume(_context: Context): CommandUnknownOpts {
  return newVerb("resume", TEXT)
    .argument("<container>", "see shim help names")
    .option("-n, --namespace <name>", "only in this namespace")
    .action(async (word, flags) => {
      await onContainer(word, flags, "resume", async ({ task, id }) => await task.resume({ id }));
    });
}
