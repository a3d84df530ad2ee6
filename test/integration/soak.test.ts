/** A shim that has worked for a while holds what it held before; `npm run soak` does the same for longer. */

import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Soak } from "../soak/soak.ts";
import { buildLeaky } from "../soak/variant.ts";

const EXECS = 40;
const STATES = 2000;
/** Some are open now and then; of a leak there would be one for each exec. */
const DESCRIPTORS_SPARE = 4;
/** What a collector may not have got to; a leak of a kilobyte in a call would be more, in the long run. */
const GROWTH_KB_MAX = 12 * 1024;
/** Twice what there is room for, in this test. */
const LEAK_BYTES = 50_000;
const LEAKY_EXECS = 350;
const CEILING_MB = 24;

test.each([
  ["stays awake", "0"],
  ["falls asleep in between", "1"],
])(
  "a shim that %s is the same after execs and calls",
  async (_kind, sleepAfterSeconds) => {
    await using soak = await Soak.start({ WEDGE_SLEEP_AFTER_SECONDS: sleepAfterSeconds });
    await soak.execs(EXECS / 2);
    await soak.states(STATES / 2);
    const before = await soak.figures();
    await soak.execs(EXECS);
    await soak.states(STATES);
    if (sleepAfterSeconds !== "0") await Bun.sleep(2000);
    await soak.execs(1);
    const after = await soak.figures();
    expect(after.descriptors).toBeLessThanOrEqual(before.descriptors + DESCRIPTORS_SPARE);
    expect(after.privateKb - before.privateKb).toBeLessThan(GROWTH_KB_MAX);
  },
  180_000,
);

test.each([
  ["stays awake", "0"],
  ["falls asleep in between", "1"],
])(
  "a shim that leaks and %s stays below its ceiling, and answers all the same",
  async (_kind, sleepAfterSeconds) => {
    const directory = mkdtempSync(join(tmpdir(), "wedge-leaky-"));
    try {
      const executable = buildLeaky(directory, LEAK_BYTES);
      const env = {
        WEDGE_SLEEP_AFTER_SECONDS: sleepAfterSeconds,
        WEDGE_MEMORY_CEILING_MB: String(CEILING_MB),
      };
      await using soak = await Soak.start(env, executable);
      await soak.execs(LEAKY_EXECS);
      expect(soak.renewals).toBeGreaterThan(0);
      expect(soak.peakKb).toBeLessThan(CEILING_MB * 1024);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
  180_000,
);

test("a shim that leaks, and begins above its ceiling, is renewed again and again all the same", async () => {
  const directory = mkdtempSync(join(tmpdir(), "wedge-leaky-"));
  try {
    const executable = buildLeaky(directory, LEAK_BYTES * 4);
    const env = { WEDGE_SLEEP_AFTER_SECONDS: "0", WEDGE_MEMORY_CEILING_MB: "1" };
    await using soak = await Soak.start(env, executable);
    for (let count = 0; count < LEAKY_EXECS && soak.renewals < 3; count += 10) await soak.execs(10);
    expect(soak.renewals).toBeGreaterThanOrEqual(3);
  } finally {
    rmSync(directory, { recursive: true });
  }
}, 180_000);
