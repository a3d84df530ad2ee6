import { describe, expect, test } from "bun:test";
import { LostWatch } from "../../../src/command/serve/lost-watch.ts";

const LIMITS = { firstMs: 10, againMs: 20 };
/** Long enough for every limit to pass, several times. */
const LONG_MS = 150;

function shimWith(now: { hasEnded: boolean }) {
  let looks = 0;
  const endings = { hasEnded: () => now.hasEnded, forgetLost: () => void looks++ };
  return { watch: new LostWatch(endings, LIMITS), looks: () => looks };
}

describe("a shim looks for what it has lost", () => {
  test("as soon as it is there, and now and then, while something has ended", async () => {
    const now = { hasEnded: true };
    const { watch, looks } = shimWith(now);
    using _watch = watch;
    while (looks() < 3) await Bun.sleep(5);
    now.hasEnded = false;
    await Bun.sleep(LONG_MS);
    const count = looks();
    await Bun.sleep(LONG_MS);
    expect(looks()).toBe(count);
  });

  test("after an end, and not before", async () => {
    const now = { hasEnded: false };
    const { watch, looks } = shimWith(now);
    using _watch = watch;
    watch.noteEvent();
    await Bun.sleep(LONG_MS);
    expect(looks()).toBe(0);
    now.hasEnded = true;
    watch.noteEvent();
    while (looks() === 0) await Bun.sleep(5);
  });
});
