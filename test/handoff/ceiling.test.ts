import { describe, expect, test } from "bun:test";
import { silentLogger } from "../../src/base/log.ts";
import { Ceiling } from "../../src/handoff/ceiling.ts";

/** More than any test has. */
const HUGE_KB = 1024 * 1024 * 1024;

describe("a ceiling", () => {
  test("that is not set asks for nothing", () => {
    const ceiling = new Ceiling(0, silentLogger);
    expect([ceiling.isSet, ceiling.isExceeded, ceiling.look()]).toEqual([false, false, "nothing"]);
  });

  test("that is far asks for nothing", () => {
    const ceiling = new Ceiling(HUGE_KB, silentLogger);
    expect([ceiling.isSet, ceiling.isExceeded, ceiling.look()]).toEqual([true, false, "nothing"]);
  });

  test("that is passed asks for a quiet instant, and after some patience for one that is made", async () => {
    const ceiling = new Ceiling(1, silentLogger);
    expect(ceiling.look()).toBe("renew if quiet");
    await Bun.sleep(250);
    expect(ceiling.look()).toBe("renew");
    ceiling.rest();
    expect([ceiling.look(), ceiling.grownSinceMs]).toEqual(["nothing", undefined]);
    expect(ceiling.restsUntilMs).toBeGreaterThan(performance.now());
  });

  test("that is passed from the beginning is raised, and what is configured is still exceeded", () => {
    const ceiling = new Ceiling(1, silentLogger);
    ceiling.raise();
    expect([ceiling.look(), ceiling.isExceeded]).toEqual(["nothing", true]);
  });

  test.each([
    ["is raised for a young program that is busy", 1000, 9999, "nothing"],
    ["stays for one that holds much", 6 * 1024, 1000, "renew if quiet"],
    ["stays for one that is older", 1000, 10_000, "renew if quiet"],
  ] as const)("that is passed after garbage has gone %s", (_what, heldKb, ageMs, due) => {
    const ceiling = new Ceiling(1, silentLogger);
    expect(ceiling.isNewlyReached).toBe(true);
    ceiling.collected(heldKb, ageMs);
    expect(ceiling.look()).toBe(due);
  });

  test("is not newly reached while a renewal is due, or put off by calls", () => {
    const ceiling = new Ceiling(1, silentLogger);
    ceiling.look();
    expect(ceiling.isNewlyReached).toBe(false);
    ceiling.putOff();
    expect([ceiling.isNewlyReached, ceiling.grownSinceMs]).toEqual([true, undefined]);
    ceiling.rest();
    expect(ceiling.isNewlyReached).toBe(false);
  });
});
