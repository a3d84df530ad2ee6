/** `shim delete`: removes a container that has ended, and its shim when nobody else needs it. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { connectShim } from "../connection.ts";
import { findShims } from "../host/shims.ts";
import { findTarget } from "../host/target.ts";
import { removeContainer, removeExec } from "../removal.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "remove a container that has ended",
  description: `Removes a container that has ended, or an exec of it, and prints its exit status. With a container that
was run with shim run --detach its shim and the shim's files are removed too.

If a manager created the container, its task is deleted and the manager learns of it by an event, as if it
had asked itself.`,
  examples: [
    { line: "shim delete web", what: "one that has ended" },
    { line: "shim delete web --force", what: "kill it first" },
    { line: "shim delete web --exec probe", what: "one exec" },
  ],
};

export function deleteVerb({ output }: Context): CommandUnknownOpts {
  return newVerb("delete", TEXT)
    .argument("<container>", "see shim help names")
    .option("-n, --namespace <name>", "only in this namespace")
    .option("-f, --force", "send SIGKILL first, and wait for it to end")
    .option("--exec <id>", "an exec of the container, not its init", "")
    .action(async (word, { namespace, force, exec }) => {
      const target = findTarget(findShims(), word, { namespace });
      using connection = await connectShim(target.shim);
      const remove = exec === "" ? removeContainer : removeExec;
      const options = { target, connection, execId: exec, isForced: force ?? false };
      const status = await output.during(`deleting ${exec || target.id}`, remove(options));
      output.print(`${status}\n`);
    });
}
