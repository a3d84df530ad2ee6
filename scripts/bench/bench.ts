/**
 * `npm run bench`: shims side by side in one run, as ratios; see `options.ts` for what can be asked.
 *
 * Peers take turns within every round (A B A B), so that drifting machine speed favours none.
 * Shims are driven as containerd drives them, by `start`, ttrpc and `delete`, with no containerd in
 * between except in the group `e2e`. Progress goes to stderr. Absolute times belong to one machine and one
 * hour: read the ratios of medians.
 */

import { mkdirSync } from "node:fs";
import { messageOf } from "../../src/base/error.ts";
import { type Bench, type GroupRun, openBench } from "./bench-run.ts";
import { enclose, enclosedCgroup } from "./enclosure.ts";
import { type BenchOptions, type GroupName, parseOptions, USAGE } from "./options.ts";
import { baselineOf, findPeers } from "./peer.ts";
import { writeReport } from "./report.ts";

/** A busy machine may take minutes for what is told of at once. */
const STALL_MS = 600_000;

const GROUP_RUNS: Readonly<Record<GroupName, () => Promise<GroupRun>>> = {
  life: async () => (await import("./group/life.ts")).measureLife,
  exec: async () => (await import("./group/exec.ts")).measureExec,
  kill: async () => (await import("./group/kill.ts")).measureKill,
  rpc: async () => (await import("./group/rpc.ts")).measureRpc,
  io: async () => (await import("./group/io.ts")).measureIo,
  mem: async () => (await import("./group/memory.ts")).measureMemory,
  leak: async () => (await import("./group/leak.ts")).measureLeak,
  e2e: async () => (await import("./group/end-to-end.ts")).measureEndToEnd,
  sleep: async () => (await import("./group/sleep.ts")).measureSleep,
  growth: async () => (await import("./group/growth.ts")).measureGrowth,
};

async function run(options: BenchOptions, cgroup: string): Promise<void> {
  const peers = findPeers(options);
  const baseline = baselineOf(peers, options.baseline);
  mkdirSync(options.out, { recursive: true });
  await using bench = openBench({ options, peers, cgroup });
  bench.say(`Measuring ${peers.map(({ label }) => label).join(", ")}`);
  for (const group of options.groups) await runGroup(bench, group);
  writeReport({ options, peers, baseline, figures: bench.figures.list() });
}

async function runGroup(bench: Bench, group: GroupName): Promise<void> {
  const startedAtMs = performance.now();
  const measure = await GROUP_RUNS[group]();
  using stalled = watchProgress(bench, group);
  await Promise.race([measure(bench), stalled.promise]);
  bench.say(`${group}: done in ${((performance.now() - startedAtMs) / 1000).toFixed(1)} s`);
}

/** A peer that hangs must not hang the benchmark: rejects when there is no more progress. */
function watchProgress(bench: Bench, group: GroupName): Disposable & { promise: Promise<never> } {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setInterval(() => {
    if (bench.quietMs < STALL_MS) return;
    reject(new Error(`No progress in group ${group} for ${STALL_MS / 1000} s: a peer hangs`));
  }, 1000);
  return { promise, [Symbol.dispose]: () => clearInterval(timer) };
}

async function main(): Promise<number> {
  const args = process.argv.slice(2);
  const options = parseOptions(args);
  if (options === undefined) {
    console.log(USAGE);
    return 0;
  }
  const cgroup = enclosedCgroup();
  if (cgroup === undefined) return await enclose(args, options.runtime);
  await run(options, cgroup);
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`bench: ${messageOf(error)}\n`);
  // Otherwise this would wait for answers that a hung peer never gives.
  process.exit(1);
}
