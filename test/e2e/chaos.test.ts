/** A few rounds of `npm run chaos`, always the same; more of them, and others, by hand. */

import { expect, test } from "bun:test";
import { runChaos } from "../../scripts/chaos/chaos.ts";
import { describeRound, planRound } from "../../scripts/chaos/plan.ts";
import { containerdVersions } from "../../scripts/debian-programs.ts";

const SEED = 1;
const ROUNDS = 5;

test("the same seed gives the same plan, and another seed another", () => {
  expect(planRound(SEED, 3)).toEqual(planRound(SEED, 3));
  expect(planRound(SEED + 1, 3)).not.toEqual(planRound(SEED, 3));
});

test("a jump of the clock is told as the faults are, in the order of their times", () => {
  const fault = { kind: "stop shim", atMs: 500, forMs: 90 } as const;
  const jumps = [
    { atMs: 100, bySeconds: -3 * 3600 },
    { atMs: 600, bySeconds: 48 * 3600 },
    { atMs: 700, bySeconds: 61 },
    { atMs: 800, bySeconds: undefined },
  ];
  expect(describeRound({ number: 4, lives: [], faults: [fault], jumps })).toBe(
    "round 4:  | jump clock at 100 by -3 h; stop shim at 500 for 90 ms; jump clock at 600 by +2 d; " +
      "jump clock at 700 by +61 s; set clock right at 800",
  );
});

test("containers keep their statuses and their output while all around them fails", async () => {
  const [version] = containerdVersions();
  if (version === undefined) throw new Error("No containerd is installed: run npm run setup");
  const said: string[] = [];
  const { violations, started, misdated } = await runChaos({
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
  // Or no clock has jumped for any shim.
  expect(misdated).toBeGreaterThan(0);
}, 600_000);
