/** A few rounds of `npm run chaos`, always the same; more of them, and others, by hand. */

import { expect, test } from "bun:test";
import { runChaos } from "../../scripts/chaos/chaos.ts";
import { planRound } from "../../scripts/chaos/plan.ts";
import { containerdVersions } from "../../scripts/debian-programs.ts";

const SEED = 1;
const ROUNDS = 5;

test("the same seed gives the same plan, and another seed another", () => {
  expect(planRound(SEED, 3)).toEqual(planRound(SEED, 3));
  expect(planRound(SEED + 1, 3)).not.toEqual(planRound(SEED, 3));
});

test("containers keep their statuses and their output while all around them fails", async () => {
  const [version] = containerdVersions();
  if (version === undefined) throw new Error("No containerd is installed: run npm run setup");
  const said: string[] = [];
  const { violations, started } = await runChaos({
    version,
    seed: SEED,
    goesOn: (round) => round < ROUNDS,
    say: (line) => said.push(line),
  });
  expect({ violations, plan: violations.length > 0 ? said : [] }).toEqual({
    violations: [],
    plan: [],
  });
  expect(started).toBeGreaterThan(0);
}, 600_000);
