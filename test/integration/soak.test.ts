/** A shim that has worked for a while has what it had before; `npm run soak` does the same for long. */

import { expect, test } from "bun:test";
import { Soak } from "../soak/soak.ts";

const EXECS = 40;
const STATES = 2000;
/** Some are open now and then; of a leak there would be one for each exec. */
const DESCRIPTORS_SPARE = 4;
/** What a collector may not have got to; a leak of a kilobyte in a call would be more, in the long run. */
const GROWTH_KB_MAX = 12 * 1024;

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
