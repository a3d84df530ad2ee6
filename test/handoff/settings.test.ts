/** When a shim sleeps and renews itself, and how long it waits as a spare. */

import { expect, test } from "bun:test";
import { nextQuietMs } from "../../src/handoff/rhythm.ts";
import { readSettings } from "../../src/handoff/settings.ts";

test.each([
  [{}, 5000, 24_576, 10_000],
  [
    { WEDGE_SLEEP_AFTER_SECONDS: "0", WEDGE_MEMORY_CEILING_MB: "0", WEDGE_SPARE_SECONDS: "0" },
    0,
    0,
    0,
  ],
  [{ WEDGE_SLEEP_AFTER_SECONDS: "0.25", WEDGE_MEMORY_CEILING_MB: "100" }, 250, 102_400, 10_000],
  [{ WEDGE_SLEEP_AFTER_SECONDS: "-1", WEDGE_MEMORY_CEILING_MB: "" }, 5000, 24_576, 10_000],
  [
    { WEDGE_SLEEP_AFTER_SECONDS: "soon", WEDGE_MEMORY_CEILING_MB: "Infinity" },
    5000,
    24_576,
    10_000,
  ],
  [{ WEDGE_SPARE_SECONDS: "0.5" }, 5000, 24_576, 500],
  [{ WEDGE_SPARE_SECONDS: "1e12" }, 5000, 24_576, 86_400_000],
])("%j", (variables, sleepAfterMs, ceilingKilobytes, spareMs) => {
  expect(readSettings(variables)).toEqual({ sleepAfterMs, ceilingKilobytes, spareMs });
});

/** How often a probe finds a shim asleep in an hour, when it comes at this interval. */
function wakesPerHour(intervalMs: number): number {
  let quietMs = 5000;
  let wakes = 0;
  for (let passedMs = 0; passedMs < 3_600_000; passedMs += intervalMs) {
    if (intervalMs <= quietMs) continue;
    wakes++;
    quietMs = nextQuietMs(quietMs, intervalMs - quietMs, 5000);
  }
  return wakes;
}

test("a shim that is probed does not fall asleep between probes, unless it is worth it", () => {
  expect(wakesPerHour(1000)).toBe(0);
  expect(wakesPerHour(10_000)).toBe(1);
  expect(wakesPerHour(30_000)).toBe(3);
  expect(wakesPerHour(60_000)).toBe(60);
});
