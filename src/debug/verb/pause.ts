/** `shim pause`: freezes every process of a container. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { onContainer } from "../managed.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "freeze the processes of a container",
  description: "Freezes every process of a container until shim resume.",
  examples: [{ line: "shim pause web", what: "see shim ps for its status" }],
};

export function pause(_context: Context): CommandUnknownOpts {
  return newVerb("pause", TEXT)
    .argument("<container>", "see shim help names")
    .option("-n, --namespace <name>", "only in this namespace")
    .action(async (word, flags) => {
      await onContainer(word, flags, "pause", async ({ task, id }) => await task.pause({ id }));
    });
}
