/** Shims are upgraded under load, and nothing is lost; `npm run soak -- --upgrade` does it at full size. */

import { beforeAll, expect, test } from "bun:test";
import { buildExecutable } from "../compiled.ts";
import { describeTimes, runUpgradeLoad } from "../soak/upgrade-load.ts";

const TIMEOUT_MS = 180_000;

beforeAll(buildExecutable, TIMEOUT_MS);

test.each([
  ["stay awake", "0"],
  ["sleep whenever they can", "0.01"],
])(
  "shims that %s lose nothing and fail no call while they are upgraded",
  async (_kind, seconds) => {
    const env = { WEDGE_SLEEP_AFTER_SECONDS: seconds };
    const report = await runUpgradeLoad({ shims: 3, upgrades: 3, env });
    expect(report.pauses).toHaveLength(9);
    expect(report.execs).toBeGreaterThanOrEqual(3);
    console.log(`pause ${describeTimes(report.pauses)}; State ${describeTimes(report.states)}`);
  },
  TIMEOUT_MS,
);
