/** The results of a run: a table for people, JSON for machines, charts. */

import { readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join } from "node:path";
import { drawGroup } from "./chart.ts";
import { type Figure, formatValue, ratioOf, summarize } from "./figure.ts";
import type { BenchOptions } from "./options.ts";
import type { Peer } from "./peer.ts";

const README = join(import.meta.dirname, "../../README.md");
const BLOCK = /(<!-- bench:begin -->\n)[\s\S]*?(<!-- bench:end -->)/;

export interface Report {
  readonly options: BenchOptions;
  readonly peers: readonly Peer[];
  readonly baseline: Peer;
  readonly figures: readonly Figure[];
}

/** Writes results.json, table.md and the charts, and prints one of the former. */
export function writeReport(report: Report): void {
  const { options } = report;
  const json = `${JSON.stringify(toJson(report), undefined, 2)}\n`;
  const table = toTable(report);
  writeFileSync(join(options.out, "results.json"), json);
  writeFileSync(join(options.out, "table.md"), table);
  for (const group of options.groups) {
    const figures = report.figures.filter((figure) => figure.group === group);
    const drawing = drawGroup({ ...report, group, figures, subtitle: describe(report) });
    writeFileSync(join(options.out, `${group}.svg`), drawing);
  }
  if (options.writesReadme) {
    const text = readFileSync(README, "utf8");
    writeFileSync(
      README,
      text.replace(BLOCK, (_, begin, end) => `${begin}${table}${end}`),
    );
  }
  process.stdout.write(options.printsJson ? json : table);
  process.stderr.write(
    `Written to ${options.out}: results.json, table.md, and a chart per group\n`,
  );
}

/** One line about the machine and the run. */
function describe({ options, peers, baseline }: Report): string {
  const labels = peers.map(({ label }) => label).join(", ");
  return (
    `${labels}; ${cpus().length} processors, Linux ${release().split("-")[0]}, ` +
    `${options.rounds} rounds, ${new Date().toISOString().slice(0, 10)}; ratios to ${baseline.label}`
  );
}

function toTable(report: Report): string {
  const { peers, baseline, figures } = report;
  const others = peers.filter((peer) => peer !== baseline);
  const lines = [`Medians (95th percentile) and ratios of medians. ${describe(report)}.`, ""];
  const head = ["", baseline.label, ...others.flatMap(({ label }) => [label, "ratio"])];
  lines.push(row(head), row(head.map((_, at) => (at === 0 ? "---" : "---:"))));
  for (const figure of figures) {
    const cells = others.flatMap((peer) => [
      cellOf(figure, peer),
      ratioOf(figure, peer.name, baseline.name)?.toFixed(2) ?? "",
    ]);
    lines.push(row([`${figure.group}: ${figure.name}`, cellOf(figure, baseline), ...cells]));
  }
  return `${lines.join("\n")}\n`;
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

function cellOf(figure: Figure, peer: Peer): string {
  const summary = summarize(figure, peer.name);
  if (summary === undefined) return "";
  const median = formatValue(summary.median, figure.unit);
  return summary.count < 3 ? median : `${median} (${formatValue(summary.p95, "")})`;
}

function toJson({ options, peers, baseline, figures }: Report): unknown {
  return {
    date: new Date().toISOString(),
    machine: { processors: cpus().length, model: cpus()[0]?.model, kernel: release() },
    options,
    baseline: baseline.name,
    peers: peers.map(({ kind, name, label, path }) => ({ kind, name, label, path })),
    figures: figures.map((figure) => ({
      group: figure.group,
      name: figure.name,
      unit: figure.unit,
      peers: Object.fromEntries(
        peers.flatMap(({ name }) => {
          const summary = summarize(figure, name);
          if (summary === undefined) return [];
          const ratio = ratioOf(figure, name, baseline.name);
          return [[name, { ...summary, ratio, samples: figure.samples.get(name) }]];
        }),
      ),
    })),
  };
}
