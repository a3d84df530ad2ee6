/** `shim kill`: sends a signal to a container. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { SIGTERM } from "../../linux/signals.ts";
import { onContainer } from "../managed.ts";
import { parseSignal } from "../signals.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "send a signal to a container",
  description: "Sends a signal to the init of a container, to all its processes, or to one exec.",
  examples: [
    { line: "shim kill web", what: "SIGTERM to its init" },
    { line: "shim kill web KILL --all", what: "SIGKILL to every process" },
    { line: "shim kill web HUP --exec probe", what: "one exec" },
  ],
};

export function kill(_context: Context): CommandUnknownOpts {
  return newVerb("kill", TEXT)
    .argument("<container>", "see shim help names")
    .argument("[signal]", "name or number (default: TERM)", parseSignal)
    .option("-n, --namespace <name>", "only in this namespace")
    .option("-a, --all", "every process of the container")
    .option("--exec <id>", "an exec of the container, not its init", "")
    .action(async (word, signal, flags) => {
      const request = { execId: flags.exec, signal: signal ?? SIGTERM, all: flags.all ?? false };
      await onContainer(
        word,
        flags,
        "signal",
        async ({ task, id }) => await task.kill({ id, ...request }),
      );
    });
}
