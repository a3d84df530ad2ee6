/** The clock that programs of one process have in common. */

import { expect, setSystemTime, test } from "bun:test";
import { join } from "node:path";
import { monotonicMs } from "../../src/linux/clock.ts";

/** Two clocks are read one after the other, on a machine that may be busy. */
const SLACK_MS = 5000;
const CLOCK = join(import.meta.dir, "../../src/linux/clock.ts");

test("another program reads the same clock, wherever its own performance.now begins", () => {
  const program = `import { monotonicMs } from ${JSON.stringify(CLOCK)}; console.log(monotonicMs());`;
  const before = monotonicMs();
  const { stdout } = Bun.spawnSync([process.execPath, "-e", program]);
  const between = Number(stdout.toString());
  expect(between).toBeGreaterThan(before);
  expect(between).toBeLessThan(monotonicMs());
});

test("it goes at the pace of performance.now, in fractions, and nobody sets it", async () => {
  const [from, fromMs] = [performance.now(), monotonicMs()];
  setSystemTime(new Date(0));
  try {
    await Bun.sleep(50);
    const passedMs = monotonicMs() - fromMs;
    expect(Math.abs(passedMs - (performance.now() - from))).toBeLessThan(SLACK_MS);
    expect(Number.isInteger(passedMs)).toBe(false);
  } finally {
    setSystemTime();
  }
});
