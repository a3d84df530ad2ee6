/** `shim doctor`: what is wrong on this host, and what to do. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { checkCgroups } from "../doctor/cgroups.ts";
import type { Finding, Level } from "../doctor/finding.ts";
import { checkKernel } from "../doctor/kernel.ts";
import { checkLeftovers } from "../doctor/leftovers.ts";
import { checkPrograms } from "../doctor/programs.ts";
import { findShims } from "../host/shims.ts";
import type { Style } from "../output/style.ts";
import { EXIT_FAILURE } from "../refusal.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "check what wedge needs, and look for leftovers",
  description: `Checks what wedge needs of this host (kernel, cgroups, runtimes, containerd, sockets), and looks for what
should not be there: sockets, bundles, shims and mounts that no longer belong to each other. Says for each
finding what to do. Changes nothing.

The exit code is 1 when something is broken; notes do not count.`,
  examples: [
    { line: "shim doctor", what: "everything" },
    { line: "shim doctor --quiet", what: "only what is not ok" },
    { line: "shim doctor --json", what: "for programs" },
  ],
};

export function doctor(context: Context): CommandUnknownOpts {
  return newVerb("doctor", TEXT)
    .option("-q, --quiet", "only what is not ok")
    .option("--json", "a list of objects")
    .action(async ({ quiet, json }) => {
      const { output, variables } = context;
      const host = findShims();
      const programs = checkPrograms(host.processes, variables);
      const all = [
        ...checkKernel(),
        ...checkCgroups(),
        ...(await output.during("asking runtimes and managers", programs)),
        ...checkLeftovers(host),
      ];
      const shown = quiet ? all.filter(({ level }) => level !== "ok") : all;
      if (json) output.printJson(shown);
      else output.print(formatFindings(shown, output.style));
      if (all.some(({ level }) => level === "broken")) context.exitCode = EXIT_FAILURE;
    });
}

const WIDTH = "broken".length;

/** A line for each, its advice below it. */
export function formatFindings(findings: readonly Finding[], style: Style): string {
  const paint: Readonly<Record<Level, (text: string) => string>> = {
    ok: style.good,
    note: style.warning,
    broken: style.bad,
  };
  return findings
    .map(({ level, message, advice }) => {
      const line = `${paint[level](level.padEnd(WIDTH))}  ${message}\n`;
      return advice === undefined
        ? line
        : `${line}${" ".repeat(WIDTH + 2)}${style.faint(`→ ${advice}`)}\n`;
    })
    .join("");
}
