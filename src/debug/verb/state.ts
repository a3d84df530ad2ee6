/** `shim state`: what a shim answers about one process. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import type { StateResponse } from "../../gen/containerd/task/v2/task.ts";
import { Status } from "../../gen/containerd/types/task/task.ts";
import { ANSWER_TIMEOUT_MS } from "../connection.ts";
import { onContainer } from "../managed.ts";
import { toDate } from "../timestamp.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "show a shim's State answer for a process",
  description:
    "Asks the shim for the state of a container, or of an exec: what a manager would get. shim inspect shows much more.",
  examples: [
    { line: "shim state web", what: "as a table of names and values" },
    { line: "shim state web --exec probe --json", what: "one exec, for programs" },
  ],
};

/** By the numbers of the wire. */
const STATUS_NAMES = new Map(
  Object.entries(Status).map(([name, number]) => [number, name.toLowerCase()]),
);

export function state({ output }: Context): CommandUnknownOpts {
  return newVerb("state", TEXT)
    .argument("<container>", "see shim help names")
    .option("-n, --namespace <name>", "only in this namespace")
    .option("--exec <id>", "an exec of the container, not its init", "")
    .option("--json", "one object")
    .action(async (word, flags) => {
      const answer = await onContainer(
        word,
        flags,
        "ask for",
        async ({ task, id }) =>
          await task.state({ id, execId: flags.exec }, { timeoutMs: ANSWER_TIMEOUT_MS }),
      );
      const document = toStateDocument(answer);
      if (flags.json) return output.printJson(document);
      const lines = Object.entries(document).map(
        ([name, value]) => `${output.style.faint(name.padEnd(10))}  ${value ?? "-"}\n`,
      );
      output.print(lines.join(""));
    });
}

function toStateDocument(answer: StateResponse) {
  const isOver = answer.exitedAt !== undefined && toDate(answer.exitedAt) !== undefined;
  return {
    id: answer.id,
    execId: answer.execId || null,
    status: STATUS_NAMES.get(answer.status) ?? "unknown",
    pid: answer.pid,
    bundle: answer.bundle,
    terminal: answer.terminal,
    stdin: answer.stdin || null,
    stdout: answer.stdout || null,
    stderr: answer.stderr || null,
    exitStatus: isOver ? answer.exitStatus : null,
    exitedAt: toDate(answer.exitedAt)?.toISOString() ?? null,
  };
}
