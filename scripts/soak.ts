/**
 * Works one shim for a long time and prints its memory and descriptors, phase by phase; or works many that
 * are upgraded meanwhile.
 *
 *     npm run soak                                  2,000 execs, 20,000 State calls, probes for 20 minutes
 *     npm run soak -- --execs 500 --states 5000 --minutes 2
 *     npm run soak -- --sleep 2                     with a shim that sleeps after two quiet seconds
 *     npm run soak -- --leak                        with one that leaks 50 kB per exec
 *     npm run soak -- --upgrade                     20 shims with two containers each are upgraded ten times
 *     npm run soak -- --upgrade --shims 5 --rounds 4
 *
 * The exit code is 1 if descriptors are left, private memory has reached its ceiling or grown by more
 * than it may, a byte or an event is lost, or a call fails.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Figures, Soak } from "../test/soak/soak.ts";
import { describeTimes, runUpgradeLoad } from "../test/soak/upgrade-load.ts";
import { buildLeaky } from "../test/soak/variant.ts";

/** Between the first phase, which warms it up, and the last. */
const GROWTH_KB_MAX = 4 * 1024;
/** Some are open now and then; a leak would mean hundreds. */
const DESCRIPTORS_SPARE = 4;
const STEPS = 4;
/** Time for a heap to be trimmed. */
const QUIET_MS = 8000;
/** The ceiling that applies when WEDGE_MEMORY_CEILING_MB is not set. */
const CEILING_KB = 24 * 1024;
const LEAK_BYTES = 50_000;
const KILOBYTE = 1024;

const { values } = parseArgs({
  options: {
    execs: { type: "string", default: "2000" },
    states: { type: "string", default: "20000" },
    minutes: { type: "string", default: "20" },
    sleep: { type: "string", default: "0" },
    leak: { type: "boolean", default: false },
    upgrade: { type: "boolean", default: false },
    shims: { type: "string", default: "20" },
    rounds: { type: "string", default: "10" },
  },
});
const execs = Number(values.execs);
const states = Number(values.states);
const probeMs = Number(values.minutes) * 60_000;

async function report(subject: Soak, phase: string): Promise<Figures> {
  const figures = await subject.figures();
  const { privateKb, descriptors, threads } = figures;
  console.log(
    `${phase.padEnd(28)} private ${(privateKb / 1024).toFixed(1).padStart(5)} MB  ` +
      `descriptors ${descriptors}  threads ${threads}`,
  );
  return figures;
}

/** Works one shim; returns whether it has stayed as it was. */
async function workOne(executable?: string): Promise<boolean> {
  await using soak = await Soak.start({ WEDGE_SLEEP_AFTER_SECONDS: values.sleep }, executable);
  await report(soak, "fresh");
  await soak.execs(Math.ceil(execs / 20));
  await soak.states(Math.ceil(states / 20));
  const first = await report(soak, "warm");
  for (let step = 1; step <= STEPS; step++) {
    await soak.execs(Math.ceil(execs / STEPS));
    await report(soak, `${Math.ceil(execs / STEPS) * step} execs`);
  }
  for (let step = 1; step <= STEPS; step++) {
    await soak.states(Math.ceil(states / STEPS));
    await report(soak, `${Math.ceil(states / STEPS) * step} State calls`);
  }
  let probes = 0;
  for (let step = 1; step <= STEPS && probeMs > 0; step++) {
    probes += await soak.probes(probeMs / STEPS);
    await report(soak, `${probes} probes`);
  }
  await Bun.sleep(QUIET_MS);
  const last = await report(soak, "end, when it is quiet");
  const peakMb = (soak.peakKb / KILOBYTE).toFixed(1);
  console.log(`most private memory ${peakMb} MB, ${soak.renewals} times begun anew`);
  const isFlat =
    last.descriptors - first.descriptors <= DESCRIPTORS_SPARE &&
    last.privateKb - first.privateKb < GROWTH_KB_MAX;
  if (!values.leak) console.log(isFlat ? "flat" : "not flat");
  return (values.leak || isFlat) && soak.peakKb < CEILING_KB;
}

async function workLeaky(): Promise<boolean> {
  const directory = mkdtempSync(join(tmpdir(), "wedge-leaky-"));
  try {
    return await workOne(buildLeaky(directory, LEAK_BYTES));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Throws what goes wrong. */
async function upgradeMany(): Promise<boolean> {
  const load = await runUpgradeLoad({
    shims: Number(values.shims),
    upgrades: Number(values.rounds),
    env: { WEDGE_SLEEP_AFTER_SECONDS: values.sleep },
  });
  const { upgrades, pauses, states: answers, streamedBytes, typedLines } = load;
  console.log(`${upgrades} upgrades: calls held up ${describeTimes(pauses)}`);
  console.log(`${answers.length} State calls: ${describeTimes(answers)}`);
  console.log(
    `${load.execs} execs, ${streamedBytes} bytes streamed, ${typedLines} lines typed: all there`,
  );
  return true;
}

let isGood: boolean;
if (values.upgrade) isGood = await upgradeMany();
else if (values.leak) isGood = await workLeaky();
else isGood = await workOne();
process.exitCode = isGood ? 0 : 1;
