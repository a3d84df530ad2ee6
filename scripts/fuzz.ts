/**
 * Feeds hostile input to what wedge reads, for as long as you like.
 *
 *     npm run fuzz                                       every target, ten minutes and a million inputs each
 *     npm run fuzz -- frame start                        these targets
 *     npm run fuzz -- --minutes 1 --inputs 50000         at least this long, and at least this many
 *     npm run fuzz -- --seed 7                           the same inputs again
 *
 * An input that breaks something is kept in `test/fuzz/found/TARGET`, where the tests pick it up.
 * Each target runs in a process of its own, which is killed when it does nothing for a minute.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Mutator } from "../test/fuzz/mutate.ts";
import type { FuzzTarget } from "../test/fuzz/target.ts";
import { fuzzTargets } from "../test/fuzz/targets.ts";

const HANG_MS = 60_000;
const REPORT_MS = 5_000;
/** A single input that takes longer is a finding: somebody could send it again and again. */
const SLOW_MS = 2_000;
const MICROSECONDS = 1000;
/** Private memory may grow by this much over a run, bytes. */
const GROWTH_MAX = 256 * 1024 * 1024;
const BATCH = 500;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: "string", default: "10" },
    inputs: { type: "string", default: "1000000" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    child: { type: "boolean", default: false },
  },
});
const seed = Number(values.seed);
const limits = {
  endAtMs: Date.now() + Number(values.minutes) * 60_000,
  inputs: Number(values.inputs),
};

function keep(target: FuzzTarget, input: Uint8Array, why: string): void {
  const directory = join(import.meta.dirname, "../test/fuzz/found", target.name);
  mkdirSync(directory, { recursive: true });
  const name = new Bun.CryptoHasher("sha256").update(input).digest("hex").slice(0, 16);
  writeFileSync(join(directory, name), input);
  console.log(`${target.name}: found ${name}: ${why}`);
}

/** Whether the input takes long in CPU time: on a busy machine everything is slow now and then. */
async function isSlow(target: FuzzTarget, input: Uint8Array): Promise<boolean> {
  const before = process.cpuUsage();
  await target.run(input);
  const { user, system } = process.cpuUsage(before);
  return user + system > SLOW_MS * MICROSECONDS;
}

/** Runs one target here; false when something was found. */
async function fuzz(target: FuzzTarget): Promise<boolean> {
  const mutator = new Mutator(target, seed);
  const before = process.memoryUsage().rss;
  let count = 0;
  let reportedAtMs = Date.now();
  while (Date.now() < limits.endAtMs || count < limits.inputs) {
    for (let index = 0; index < BATCH; index++, count++) {
      const input = mutator.next();
      const startedAtMs = performance.now();
      try {
        await target.run(input);
      } catch (error) {
        keep(
          target,
          input,
          error instanceof Error ? (error.stack ?? error.message) : String(error),
        );
        return false;
      }
      if (performance.now() - startedAtMs > SLOW_MS && (await isSlow(target, input))) {
        keep(target, input, `takes more than ${SLOW_MS} ms`);
        return false;
      }
    }
    if (Date.now() - reportedAtMs < REPORT_MS) continue;
    reportedAtMs = Date.now();
    console.log(`${target.name}: ${count} inputs`);
  }
  Bun.gc(true);
  const grownBytes = process.memoryUsage().rss - before;
  const megabytes = Math.round(grownBytes / 1024 / 1024);
  console.log(
    `${target.name}: ${count} inputs survived with seed ${seed}, memory ${megabytes} MB more`,
  );
  return grownBytes < GROWTH_MAX;
}

/** Runs a target in a process of its own and passes on its output. */
async function supervise(name: string): Promise<boolean> {
  const flags = ["--minutes", values.minutes, "--inputs", values.inputs, "--seed", String(seed)];
  const child = Bun.spawn([process.execPath, import.meta.path, "--child", ...flags, name], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let timer = setTimeout(() => child.kill("SIGKILL"), HANG_MS);
  for await (const chunk of child.stdout) {
    clearTimeout(timer);
    timer = setTimeout(() => child.kill("SIGKILL"), HANG_MS);
    process.stdout.write(chunk);
  }
  clearTimeout(timer);
  const code = await child.exited;
  if (child.signalCode === "SIGKILL") console.log(`${name}: hangs with seed ${seed}`);
  return code === 0;
}

const names = positionals.length > 0 ? positionals : [...fuzzTargets.keys()];
const unknown = names.filter((name) => !fuzzTargets.has(name));
if (unknown.length > 0) {
  console.log(`no target ${unknown.join(", ")}; there are ${[...fuzzTargets.keys()].join(", ")}`);
  process.exit(2);
}
const failed: string[] = [];
for (const name of names) {
  const target = fuzzTargets.get(name);
  if (target === undefined) continue;
  const isFine = values.child ? await fuzz(target) : await supervise(name);
  await target.close?.();
  if (!isFine) failed.push(name);
}
if (!values.child)
  console.log(failed.length === 0 ? "nothing found" : `failed: ${failed.join(", ")}`);
process.exit(failed.length === 0 ? 0 : 1);
