/**
 * Works one shim for long and prints what it has of memory and descriptors, phase by phase.
 *
 *     npm run soak                                  2,000 execs, 20,000 State calls, probes for 20 minutes
 *     npm run soak -- --execs 500 --states 5000 --minutes 2
 *     npm run soak -- --sleep 2                     by a shim that sleeps after two quiet seconds
 *
 * The exit code is 1 when descriptors are left or private memory has grown by more than it may.
 */

import { parseArgs } from "node:util";
import { type Figures, Soak } from "../test/soak/soak.ts";

/** Between the first phase, which warms it up, and the last. */
const GROWTH_KB_MAX = 4 * 1024;
/** Some are open now and then; of a leak there would be hundreds. */
const DESCRIPTORS_SPARE = 4;
const STEPS = 4;

const { values } = parseArgs({
  options: {
    execs: { type: "string", default: "2000" },
    states: { type: "string", default: "20000" },
    minutes: { type: "string", default: "20" },
    sleep: { type: "string", default: "0" },
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

await using soak = await Soak.start({ WEDGE_SLEEP_AFTER_SECONDS: values.sleep });
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
const last = await report(soak, "end");
const isFlat =
  last.descriptors - first.descriptors <= DESCRIPTORS_SPARE &&
  last.privateKb - first.privateKb < GROWTH_KB_MAX;
console.log(isFlat ? "flat" : "not flat");
process.exitCode = isFlat ? 0 : 1;
