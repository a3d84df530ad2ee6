/** The benchmark runs: every group, through every peer, into a report that has figures of each. */

import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MAIN = join(import.meta.dir, "../../scripts/bench/bench.ts");
const GROUPS = ["life", "exec", "kill", "rpc", "io", "mem", "leak", "e2e", "sleep", "growth"];
const LIMIT_MS = 500_000;
/** As little of everything as there can be. */
const LEAST = [
  ...["--rounds", "1", "--counts", "1", "--bursts", "2", "--mebibytes", "1", "--execs", "2"],
  ...[
    "--settle-ms",
    "1",
    "--shims",
    "1",
    "--pod",
    "2",
    "--idle-ms",
    "1000",
    "--probes",
    "1",
    "--groups",
    GROUPS.join(","),
  ],
];

interface Results {
  readonly figures: readonly {
    readonly group: string;
    readonly name: string;
    readonly peers: Readonly<Record<string, { readonly median: number; readonly count: number }>>;
  }[];
}

test(
  "npm run bench measures every group of both shims and writes what it has found",
  async () => {
    const out = mkdtempSync(join(tmpdir(), "wedge-bench-"));
    using cleanUp = new DisposableStack();
    cleanUp.defer(() => rmSync(out, { recursive: true }));
    const child = Bun.spawn([process.execPath, MAIN, ...LEAST, "--out", out], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [table, progress, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    expect(code, progress).toBe(0);
    const { figures }: Results = JSON.parse(readFileSync(join(out, "results.json"), "utf8"));
    expect([...new Set(figures.map(({ group }) => group))]).toEqual(GROUPS);
    for (const { group, name, peers } of figures) {
      expect(table).toContain(`| ${group}: ${name} | `);
      expect([name, ...Object.keys(peers)]).toEqual(expect.arrayContaining([name, "wedge", "go"]));
      for (const { median, count } of Object.values(peers)) {
        expect(median, name).toBeFinite();
        expect(count, name).toBePositive();
      }
    }
    const threads = figures.find(({ name }) => name === "threads, 1 at a time");
    expect(threads?.peers["wedge"]?.median).toBeLessThanOrEqual(5);
    for (const group of GROUPS) {
      const drawing = readFileSync(join(out, `${group}.svg`), "utf8");
      expect(drawing).toStartWith("<svg ");
      expect(drawing).toContain("wedge ");
    }
  },
  LIMIT_MS,
);
