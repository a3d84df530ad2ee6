/**
 * Containers live while everything around them fails, over a real containerd of their own.
 *
 *     npm run chaos -- --minutes 10 --seed 7       the same rounds again, as many as there is time for
 *     npm run chaos -- --seed 7 --from 5           from the sixth round on
 *     npm run chaos -- --containerd 2.1            over a series other than the oldest available
 *     npm run chaos -- --sleep 1                   with shims that sleep after a quiet second
 *     npm run chaos -- --runtime io.containerd.runc.v2     the stock shim, to compare
 *     npm run chaos -- --plan 20                   only prints the plan of 20 rounds
 *
 * The exit code is 1 when something did not hold; the last lines say what.
 */

import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Containerd } from "../../test/e2e/containerd.ts";
import { containerdVersions } from "../debian-programs.ts";
import { runChaos } from "./chaos.ts";
import { describeRound, planRound } from "./plan.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    containerd: { type: "string", default: "" },
    sleep: { type: "string", default: "" },
    runtime: { type: "string", default: "io.containerd.wedge.v2" },
    from: { type: "string", default: "0" },
    plan: { type: "string", default: "0" },
  },
});
/** containerd's; shims log to it too. */
function keepLog(daemon: Containerd): void {
  const directory = join(import.meta.dirname, "../../dist/chaos");
  mkdirSync(directory, { recursive: true });
  const path = join(directory, `${daemon.sandbox.name}.log`);
  copyFileSync(daemon.outside("containerd.log"), path);
  console.log(`the log is in ${path}`);
}

const seed = Number(values.seed);
const planned = Number(values.plan);
for (let round = 0; round < planned; round++) console.log(describeRound(planRound(seed, round)));
if (planned === 0) {
  const version = containerdVersions().find(
    ({ series }) => values.containerd === "" || series === values.containerd,
  );
  if (version === undefined) {
    throw new Error(`No containerd ${values.containerd} is installed: run npm run setup`);
  }
  console.log(`seed ${seed}, containerd ${version.series}, ${values.runtime}`);
  const endMs = performance.now() + Number(values.minutes) * 60_000;
  const { rounds, started, refused, misdated, violations } = await runChaos({
    version,
    seed,
    from: Number(values.from),
    runtime: values.runtime,
    variables: values.sleep === "" ? {} : { WEDGE_SLEEP_AFTER_SECONDS: values.sleep },
    goesOn: () => performance.now() < endMs,
    say: (line) => console.log(line),
    onFailure: keepLog,
  });
  for (const violation of violations) console.log(violation);
  console.log(
    `${rounds} rounds with seed ${seed}: ${started} containers lived, ${refused} were refused, ` +
      `${misdated} events were dated by a clock that had jumped, ` +
      `${violations.length} things did not hold`,
  );
  process.exitCode = violations.length > 0 ? 1 : 0;
}
