/** `shim resume`: thaws a frozen container. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { onContainer } from "../managed.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "thaw a frozen container",
  description: "Thaws the processes of a container that shim pause has frozen.",
  examples: [{ line: "shim resume web", what: "after shim pause web" }],
};

export function resume(_context: Context): CommandUnknownOpts {
  return newVerb("resume", TEXT)
    .argument("<container>", "see shim help names")
    .option("-n, --namespace <name>", "only in this namespace")
    .action(async (word, flags) => {
      await onContainer(word, flags, "resume", async ({ task, id }) => await task.resume({ id }));
    });
}
