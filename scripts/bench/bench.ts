/**
 * `npm run bench`: wedge beside the stock shim, in one run, as ratios.
 *
 * Runs of the two alternate (A B A B), so that a machine whose speed drifts favours neither. Progress goes
 * to stderr, the table to stdout; `--json` prints the figures for machines instead. Times of two cores are
 * noisy: read the ratios of medians.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Containerd, IMAGE, wedgeExecutable } from "../../test/e2e/containerd.ts";
import { containerdVersions } from "../debian-programs.ts";

const SHIMS = ["wedge", "runc"] as const;
type Shim = (typeof SHIMS)[number];

interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly samples: Readonly<Record<Shim, number[]>>;
}

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "30" },
    containers: { type: "string", default: "10" },
    json: { type: "boolean", default: false },
  },
});
const runs = Number(values.runs);
const containers = Number(values.containers);

function figure(name: string, unit: string): Figure {
  return { name, unit, samples: { wedge: [], runc: [] } };
}

function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** Process start to exit of the executable, doing nothing (`-v`). */
async function measureStartUp(stockShim: string): Promise<Figure> {
  const result = figure("start-up (-v)", "ms");
  const paths = { wedge: wedgeExecutable(), runc: stockShim };
  for (let run = -2; run < runs; run++) {
    for (const shim of SHIMS) {
      const before = performance.now();
      await Bun.spawn([paths[shim], "-v"], { stdout: "ignore" }).exited;
      if (run >= 0) result.samples[shim].push(performance.now() - before);
    }
  }
  return result;
}

/** A container's whole life as a person at a terminal has it. */
async function measureLife(daemon: Containerd): Promise<Figure> {
  const result = figure("ctr run --rm true", "ms");
  for (let run = -2; run < runs; run++) {
    for (const shim of SHIMS) {
      const id = `life-${shim}-${run + 2}`;
      const before = performance.now();
      await daemon.ctr("run", "--rm", "--runtime", `io.containerd.${shim}.v2`, IMAGE, id, "true");
      if (run >= 0) result.samples[shim].push(performance.now() - before);
    }
  }
  return result;
}

/** `ctr task exec` of a program that does nothing. */
async function measureExec(daemon: Containerd): Promise<Figure> {
  const result = figure("ctr task exec true", "ms");
  for (const shim of SHIMS) {
    const runtime = `io.containerd.${shim}.v2`;
    await daemon.ctr("run", "-d", "--runtime", runtime, IMAGE, `exec-${shim}`, "sleep", "1000");
  }
  for (let run = -2; run < runs; run++) {
    for (const shim of SHIMS) {
      const before = performance.now();
      await daemon.ctr("task", "exec", "--exec-id", `e${run + 2}`, `exec-${shim}`, "true");
      if (run >= 0) result.samples[shim].push(performance.now() - before);
    }
  }
  for (const shim of SHIMS) await remove(daemon, `exec-${shim}`);
  return result;
}

/** What an idle shim holds, each with one container, {@link containers} of each kind at a time. */
async function measureMemory(daemon: Containerd): Promise<Figure[]> {
  const [pss, own, threads] = [
    figure(`PSS per idle shim at ${containers}`, "kB"),
    figure(`private memory per idle shim at ${containers}`, "kB"),
    figure("threads of an idle shim", ""),
  ];
  for (const shim of SHIMS) {
    const ids = Array.from({ length: containers }, (_, index) => `mem-${shim}-${index}`);
    for (const id of ids) {
      const runtime = `io.containerd.${shim}.v2`;
      await daemon.ctr("run", "-d", "--runtime", runtime, IMAGE, id, "sleep", "1000");
    }
    await Bun.sleep(6000);
    for (const pid of daemon.shims()) {
      const proc = daemon.sandbox.path(join("/proc", String(pid)));
      const rollup = readFileSync(join(proc, "smaps_rollup"), "utf8");
      const field = (name: string) =>
        Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(rollup)?.[1]);
      pss.samples[shim].push(field("Pss"));
      own.samples[shim].push(field("Private_Clean") + field("Private_Dirty"));
      const status = readFileSync(join(proc, "status"), "utf8");
      threads.samples[shim].push(Number(/^Threads:\s+(\d+)/m.exec(status)?.[1]));
    }
    for (const id of ids) await remove(daemon, id);
  }
  return [pss, own, threads];
}

async function remove(daemon: Containerd, id: string): Promise<void> {
  await daemon.ctr("task", "rm", "--force", id);
  await daemon.ctr("container", "rm", id);
}

function print(figures: readonly Figure[]): void {
  if (values.json) {
    console.log(JSON.stringify(figures, undefined, 2));
    return;
  }
  console.log("| what | wedge | stock shim | ratio |\n|---|---|---|---|");
  for (const { name, unit, samples } of figures) {
    const [wedge, runc] = [median(samples.wedge), median(samples.runc)];
    const cell = (value: number) => `${value.toFixed(value < 100 ? 1 : 0)} ${unit}`.trim();
    console.log(`| ${name} | ${cell(wedge)} | ${cell(runc)} | ${(wedge / runc).toFixed(2)} |`);
  }
}

async function main(): Promise<void> {
  const [version] = containerdVersions();
  if (version === undefined) throw new Error("No containerd is installed: run npm run setup");
  await using daemon = await Containerd.start({ version });
  progress(`containerd ${version.series}, ${runs} runs, ${containers} containers`);
  progress("measuring start-up");
  const startUp = await measureStartUp(join(version.directory, "containerd-shim-runc-v2"));
  progress("measuring life");
  const life = await measureLife(daemon);
  progress("measuring exec");
  const exec = await measureExec(daemon);
  progress("measuring memory");
  print([startUp, life, exec, ...(await measureMemory(daemon))]);
}

await main();
