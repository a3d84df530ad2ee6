/** `shim wait`: waits for a process to end, and exits as it did. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { hasReason } from "../../base/error.ts";
import { requireDuration } from "../duration.ts";
import { onContainer } from "../managed.ts";
import { formatDuration } from "../output/units.ts";
import { EXIT_TIMEOUT, Refusal } from "../refusal.ts";
import { toDate } from "../timestamp.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "wait for a container to end, and exit as it did",
  description:
    "Waits until the init of a container, or an exec of it, has ended. Prints its exit status, and exits with it.",
  examples: [
    { line: "shim wait web", what: "for as long as it takes" },
    { line: "shim wait web --timeout 30s", what: "exit code 124 if it is still running then" },
    { line: "shim wait web --json", what: "with the time of the exit" },
  ],
};

export function wait(context: Context): CommandUnknownOpts {
  return newVerb("wait", TEXT)
    .argument("<container>", "see shim help names")
    .option("-n, --namespace <name>", "only in this namespace")
    .option("--exec <id>", "an exec of the container, not its init", "")
    .option("--timeout <time>", "give up after this: 10s, 2m", requireDuration)
    .option("--json", "one object")
    .action(async (word, flags) => {
      const { timeout } = flags;
      const options = timeout === undefined ? {} : { timeoutMs: timeout };
      const { exitStatus, exitedAt } = await onContainer(
        word,
        flags,
        "wait for",
        async ({ task, id }) => {
          try {
            return await task.wait({ id, execId: flags.exec }, options);
          } catch (error) {
            if (timeout === undefined || !isLate(error)) throw error;
            throw new Refusal(
              EXIT_TIMEOUT,
              `${id} is still running after ${formatDuration(timeout)}`,
            );
          }
        },
      );
      const { output } = context;
      if (flags.json) output.printJson({ exitStatus, exitedAt: toDate(exitedAt) ?? null });
      else output.print(`${exitStatus}\n`);
      context.exitCode = exitStatus;
    });
}

function isLate(error: unknown): boolean {
  return hasReason(error, "deadlineExceeded");
}
