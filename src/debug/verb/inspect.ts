/** `shim inspect`: everything about one container and its shim. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { messageOf } from "../../base/error.ts";
import { askInspect, connectShim } from "../connection.ts";
import { readContainerState } from "../host/container-status.ts";
import { readMemory } from "../host/process-memory.ts";
import { findShims } from "../host/shims.ts";
import { findTarget, type Target } from "../host/target.ts";
import { formatReport, type Report, toReportDocument } from "../inspect-report.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "show everything about a container and its shim",
  description: `Shows everything about a container and its shim: processes with their exits, calls in flight with
their age, the last runtime calls with duration, exit code and error, descriptors, waiting events, and
losses.

A wedge shim answers for itself; for others, and for one that does not answer, the output shows what is
known from the kernel and the bundle. A sleeping shim is woken.`,
  examples: [
    { line: "shim inspect web", what: "by id, see shim help names" },
    { line: "shim inspect default/web --json", what: "for programs" },
  ],
};

export function inspect(context: Context): CommandUnknownOpts {
  return newVerb("inspect", TEXT)
    .argument("<container>", "see shim help names")
    .option("-n, --namespace <name>", "only in this namespace")
    .option("--json", "one object")
    .action(async (word, { namespace, json }) => {
      const host = findShims();
      const target = findTarget(host, word, { namespace });
      const { shim, bundle } = target;
      const report: Report = {
        target,
        state: bundle === undefined ? undefined : readContainerState(host, shim, bundle),
        memory: readMemory(shim.process.pid),
        ...(await context.output.during(`asking the shim of ${target.id}`, ask(target))),
        nowMs: Date.now(),
      };
      const { output } = context;
      if (json) output.printJson(toReportDocument(report));
      else output.print(formatReport(report, output));
    });
}

/** A shim that does not answer is what this verb is for: it is reported, and is not a failure. */
async function ask({
  shim,
  id,
}: Target): Promise<Pick<Report, "taskVersion" | "answer" | "problem">> {
  try {
    using connection = await connectShim(shim);
    const answer = await askInspect(connection, id);
    return { taskVersion: connection.taskVersion, answer, problem: "" };
  } catch (error) {
    return { taskVersion: undefined, answer: undefined, problem: messageOf(error) };
  }
}
