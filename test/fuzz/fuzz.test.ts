/** Every target survives what was once found, and some thousands of new inputs. */

import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Mutator } from "./mutate.ts";
import { fuzzTargets } from "./targets.ts";

const INPUTS = 3000;
const SEED = 1;
const found = join(import.meta.dir, "found");

afterAll(async () => {
  for (const target of fuzzTargets.values()) await target.close?.();
});

describe.each([...fuzzTargets.values()])("$name", (target) => {
  const directory = join(found, target.name);
  const cases = existsSync(directory) ? readdirSync(directory).sort() : [];

  test.each(cases)("survives the found case %s", async (name) => {
    await expect(
      Promise.resolve(target.run(readFileSync(join(directory, name)))),
    ).resolves.toBeUndefined();
  });

  test("takes its own seeds", async () => {
    for (const seed of target.seeds) await target.run(seed);
    expect(target.seeds.length).toBeGreaterThan(0);
  });

  test(`survives ${INPUTS} inputs`, async () => {
    const mutator = new Mutator(target, SEED);
    let count = 0;
    for (; count < INPUTS; count++) await target.run(mutator.next());
    expect(count).toBe(INPUTS);
  });
});
