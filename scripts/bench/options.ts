/** The command line of the benchmark. */

import { parseArgs } from "node:util";

export const RUNTIMES = ["runc", "crun"] as const;
export type RuntimeName = (typeof RUNTIMES)[number];

/** In the order in which they run; `growth` only when it is asked for. */
export const GROUPS = [
  "life",
  "exec",
  "kill",
  "rpc",
  "io",
  "mem",
  "leak",
  "e2e",
  "sleep",
  "growth",
] as const;
export type GroupName = (typeof GROUPS)[number];
const OPTIONAL: ReadonlySet<GroupName> = new Set(["growth"]);

export const USAGE = `npm run bench -- [options]

  --groups a,b        of ${GROUPS.join(", ")}; all but growth when left out
  --shim NAME=PATH    another shim to measure; may be repeated
  --baseline NAME     the peer that ratios refer to; the stock shim when left out
  --runtime NAME      ${RUNTIMES.join(" or ")}
  --rounds N          of what is done once per round (40)
  --counts a,b        containers at a time in group mem (1,10,50,100)
  --shims a,b         containers at a time, each with a shim, in groups sleep and growth (1,50,200)
  --pod a,b           containers in one pod in group growth (1,16,64)
  --bursts a,b        containers started at once in group e2e (20,50)
  --mebibytes N       through each stream in group io (512; a quarter of it through a terminal)
  --execs N           in group leak (1000; and ten times as many States)
  --idle-ms N         of nothing to do in group sleep (20000)
  --probes N          each second in group sleep; a tenth of it each ten seconds (30)
  --settle-ms N       quiet time before memory is measured (6000)
  --out DIR           for results.json, table.md and an SVG chart per group (dist/bench)
  --readme            also puts the table into README.md
  --json              prints the figures for machines instead of the table
`;

export interface ShimArgument {
  readonly name: string;
  readonly path: string;
}

export interface BenchOptions {
  readonly groups: readonly GroupName[];
  readonly shims: readonly ShimArgument[];
  readonly baseline: string | undefined;
  readonly runtime: RuntimeName;
  readonly rounds: number;
  readonly counts: readonly number[];
  readonly shimCounts: readonly number[];
  readonly podCounts: readonly number[];
  readonly bursts: readonly number[];
  readonly mebibytes: number;
  readonly execs: number;
  readonly idleMs: number;
  readonly probes: number;
  readonly settleMs: number;
  readonly out: string;
  readonly writesReadme: boolean;
  readonly printsJson: boolean;
}

/** Parses the arguments; undefined when help was asked for. Throws an Error that says what is wrong. */
export function parseOptions(args: readonly string[]): BenchOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      groups: { type: "string" },
      shim: { type: "string", multiple: true, default: [] },
      baseline: { type: "string" },
      runtime: { type: "string", default: "runc" },
      rounds: { type: "string", default: "40" },
      counts: { type: "string", default: "1,10,50,100" },
      shims: { type: "string", default: "1,50,200" },
      pod: { type: "string", default: "1,16,64" },
      bursts: { type: "string", default: "20,50" },
      mebibytes: { type: "string", default: "512" },
      execs: { type: "string", default: "1000" },
      "idle-ms": { type: "string", default: "20000" },
      probes: { type: "string", default: "30" },
      "settle-ms": { type: "string", default: "6000" },
      out: { type: "string", default: "dist/bench" },
      readme: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const groups = GROUPS.filter((name) => !OPTIONAL.has(name));
  return {
    groups:
      values.groups === undefined ? groups : listOf("--groups", values.groups, parseGroup(GROUPS)),
    shims: values.shim.map(parseShim),
    baseline: values.baseline,
    runtime: parseGroup(RUNTIMES)("--runtime", values.runtime),
    rounds: parseCount("--rounds", values.rounds),
    counts: listOf("--counts", values.counts, parseCount),
    shimCounts: listOf("--shims", values.shims, parseCount),
    podCounts: listOf("--pod", values.pod, parseCount),
    bursts: listOf("--bursts", values.bursts, parseCount),
    mebibytes: parseCount("--mebibytes", values.mebibytes),
    execs: parseCount("--execs", values.execs),
    idleMs: parseCount("--idle-ms", values["idle-ms"]),
    probes: parseCount("--probes", values.probes),
    settleMs: parseCount("--settle-ms", values["settle-ms"]),
    out: values.out,
    writesReadme: values.readme,
    printsJson: values.json,
  };
}

function listOf<T>(
  option: string,
  text: string,
  parse: (option: string, item: string) => T,
): readonly T[] {
  return text.split(",").map((item) => parse(option, item.trim()));
}

function parseGroup<T extends string>(known: readonly T[]): (option: string, text: string) => T {
  return (option, text) => {
    const found = known.find((name) => name === text);
    if (found !== undefined) return found;
    throw new Error(`Unknown value of ${option}: ${text}. Use ${known.join(", ")}`);
  };
}

function parseCount(option: string, text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count > 0) return count;
  throw new Error(`Value of ${option} is not a positive number: ${text}`);
}

function parseShim(text: string): ShimArgument {
  const at = text.indexOf("=");
  const name = text.slice(0, at);
  if (at > 0 && /^[a-z0-9][a-z0-9-]*$/.test(name)) return { name, path: text.slice(at + 1) };
  throw new Error(`Value of --shim is not NAME=PATH with a plain name: ${text}`);
}
