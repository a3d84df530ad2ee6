/** `shim metrics`: all shims of this host for a monitoring system. */

import { renameSync, writeFileSync } from "node:fs";
import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import type { InspectResponse } from "../../gen/wedge/inspect/v1/inspect.ts";
import { askInspect, connectShim } from "../connection.ts";
import { readFigures } from "../host/figures.ts";
import { readMemory } from "../host/process-memory.ts";
import { findShims, type HostShim } from "../host/shims.ts";
import { survey } from "../host/survey.ts";
import { toFamilies } from "../metric-families.ts";
import { formatMetrics } from "../output/openmetrics.ts";
import { type Context, newVerb } from "../verb.ts";

/** The collector has to read it. */
const FILE_MODE = 0o644;

const TEXT = {
  summary: "print metrics of all shims as OpenMetrics",
  description: `Prints metrics of all shims on this host and their containers as OpenMetrics text, suitable for
node_exporter's textfile collector.

No shim is asked, so none is woken, unless --ask is given: then wedge shims report their calls, events and
losses too.`,
  examples: [
    { line: "shim metrics", what: "print them" },
    {
      line: "shim metrics --output /var/lib/node_exporter/shim.prom",
      what: "from a timer: the file is replaced in one step",
    },
    { line: "shim metrics --ask", what: "with what wedge shims report about themselves" },
  ],
};

export function metrics({ output }: Context): CommandUnknownOpts {
  return newVerb("metrics", TEXT)
    .option("--ask", "ask wedge shims too; wakes those that sleep")
    .option("-o, --output <file>", "replace this file instead of printing")
    .action(async ({ ask, output: file }) => {
      const host = findShims();
      const asking = Promise.all(
        host.shims.map(async (shim) => ({
          shim,
          memory: readMemory(shim.process.pid),
          answer: ask && shim.kind === "wedge" ? await tryInspect(shim) : undefined,
        })),
      );
      const shims = await output.during("asking shims", asking);
      const containers = survey(host)
        .filter(({ bundle }) => bundle !== undefined)
        .map((row) => ({ row, figures: readFigures(row.state?.cgroup) }));
      const strayBundles = host.strayBundles.length;
      const text = formatMetrics(toFamilies({ shims, containers, strayBundles }));
      if (file === undefined) output.print(text);
      else replaceFile(file, text);
    });
}

/** A shim that does not answer has no such figures; it does not keep the others waiting for long. */
async function tryInspect(shim: HostShim): Promise<InspectResponse | undefined> {
  try {
    using connection = await connectShim(shim);
    return await askInspect(connection, "");
  } catch {
    return undefined;
  }
}

/** A collector that reads it meanwhile sees the old one or the new one. */
function replaceFile(path: string, text: string): void {
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, text, { mode: FILE_MODE });
  renameSync(temporary, path);
}
