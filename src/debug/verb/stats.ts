/** `shim stats`: what the kernel accounts to a container and to its shim. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { readContainerState } from "../host/container-status.ts";
import { type Figures, readFigures } from "../host/figures.ts";
import { type ProcessMemory, readMemory } from "../host/process-memory.ts";
import type { HostProcess } from "../host/process-table.ts";
import { findShims } from "../host/shims.ts";
import { findTarget } from "../host/target.ts";
import type { Style } from "../output/style.ts";
import { formatBytes, formatDuration } from "../output/units.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "show what a container and its shim use",
  description: `Shows what the kernel has accounted to a container since its start, and to its shim. The shim is not asked.

shim top shows rates; shim metrics has the same figures for a monitoring system.`,
  examples: [
    { line: "shim stats web", what: "with units" },
    { line: "shim stats web --json", what: "bytes and milliseconds" },
  ],
};

export interface Stats {
  readonly container: Figures | undefined;
  readonly shim: { readonly cpuMs: number; readonly memory: ProcessMemory | undefined };
}

export function stats({ output }: Context): CommandUnknownOpts {
  return newVerb("stats", TEXT)
    .argument("<container>", "see shim help names")
    .option("-n, --namespace <name>", "only in this namespace")
    .option("--json", "one object")
    .action((word, { namespace, json }) => {
      const host = findShims();
      const target = findTarget(host, word, { namespace });
      const { shim, bundle } = target;
      const state = bundle && readContainerState(host, shim, bundle);
      const found: Stats = {
        container: readFigures(state?.cgroup),
        shim: shimStats(shim.process),
      };
      if (json) output.printJson({ namespace: target.namespace, id: target.id, ...found });
      else output.print(formatStats(found, output.style));
    });
}

function shimStats({ pid, cpuMs }: HostProcess): Stats["shim"] {
  return { cpuMs, memory: readMemory(pid) };
}

/** Lines of names and values. */
export function formatStats({ container, shim }: Stats, style: Style): string {
  const { memory } = shim;
  const facts: readonly (readonly [string, string])[] = [
    ...(container === undefined
      ? [["container", "has no cgroup: it has ended"] as const]
      : containerFacts(container)),
    ["shim cpu", formatDuration(shim.cpuMs)],
    [
      "shim memory",
      memory === undefined
        ? "-"
        : `${formatBytes(memory.pss)} PSS, ${formatBytes(memory.private)} of its own`,
    ],
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  return facts.map(([name, value]) => `${style.faint(name.padEnd(width))}  ${value}\n`).join("");
}

function containerFacts(figures: Figures): readonly (readonly [string, string])[] {
  const of = (limit: string) => (limit === "-" ? "" : ` of ${limit}`);
  const throttled = figures.throttledMs ? `, held back ${formatDuration(figures.throttledMs)}` : "";
  return [
    ["cpu", formatDuration(figures.cpuMs) + throttled],
    [
      "memory",
      `${formatBytes(figures.memoryBytes)}${of(formatBytes(figures.memoryLimitBytes))}, ${formatBytes(figures.workingSetBytes)} without cache`,
    ],
    ["oom kills", String(figures.oomKills ?? "-")],
    ["pids", `${figures.pids ?? "-"}${of(String(figures.pidsLimit ?? "-"))}`],
    ["read", formatBytes(figures.readBytes)],
    ["written", formatBytes(figures.writtenBytes)],
  ];
}
