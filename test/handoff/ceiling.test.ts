import { describe, expect, test } from "bun:test";
import { silentLogger } from "../../src/base/log.ts";
import { Ceiling, isMerelyBusy } from "../../src/handoff/ceiling.ts";

const MB = 1024;
const DEFAULT_KB = 24 * MB;
/** Where a renewal is due by default. */
const DUE_KB = 18 * MB;

describe("a ceiling", () => {
  test("that is not set asks for nothing", () => {
    const ceiling = new Ceiling(0, silentLogger);
    ceiling.begin(DUE_KB);
    expect([ceiling.isSet, ceiling.isExceededBy(DUE_KB), ceiling.isNewlyReachedBy(DUE_KB)]).toEqual(
      [false, false, false],
    );
    expect([ceiling.look(DUE_KB, false), ceiling.look(DUE_KB, true)]).toEqual([
      "nothing",
      "nothing",
    ]);
  });

  test("is reached at three quarters of it", () => {
    const ceiling = new Ceiling(DEFAULT_KB, silentLogger);
    expect(ceiling.isExceededBy(DUE_KB - 1)).toBe(false);
    expect(ceiling.isNewlyReachedBy(DUE_KB - 1)).toBe(false);
    expect(ceiling.look(DUE_KB - 1, false)).toBe("nothing");
    expect(ceiling.isExceededBy(DUE_KB)).toBe(true);
    expect(ceiling.isNewlyReachedBy(DUE_KB)).toBe(true);
    expect(ceiling.look(DUE_KB, false)).toBe("renew if quiet");
  });

  test.each([
    [13.4, false],
    [13.5, true],
  ])("is near when %d MB are there: %p", (privateMb, isNear) => {
    const ceiling = new Ceiling(DEFAULT_KB, silentLogger);
    expect(ceiling.isNear).toBe(false);
    ceiling.look(privateMb * MB, false);
    expect(ceiling.isNear).toBe(isNear);
  });

  test("that is reached asks for a quiet instant, and after some patience for one that is made", async () => {
    const ceiling = new Ceiling(DEFAULT_KB, silentLogger);
    expect(ceiling.look(DUE_KB, false)).toBe("renew if quiet");
    await Bun.sleep(250);
    expect(ceiling.look(DUE_KB, false)).toBe("renew");
    ceiling.rest();
    expect([ceiling.look(DUE_KB, false), ceiling.grownSinceMs]).toEqual(["nothing", undefined]);
    expect(ceiling.restsUntilMs).toBeGreaterThan(performance.now());
  });

  test("that is passed from the beginning is raised until what was above it is gone", () => {
    const ceiling = new Ceiling(DEFAULT_KB, silentLogger);
    ceiling.begin(30 * MB);
    expect([ceiling.look(44 * MB, false), ceiling.isExceededBy(44 * MB)]).toEqual([
      "nothing",
      true,
    ]);
    expect(ceiling.look(45 * MB, false)).toBe("renew if quiet");
    expect(ceiling.look(10 * MB, false)).toBe("nothing");
    expect(ceiling.look(DUE_KB, false)).toBe("renew if quiet");
  });

  test.each([
    ["that is reached soon after a renewal is left to a busy program", 24, 30, true, "nothing"],
    ["is due for any other one", 24, 18, false, "renew if quiet"],
  ] as const)("%s", (_what, ceilingMb, privateMb, isBusy, due) => {
    const ceiling = new Ceiling(ceilingMb * MB, silentLogger);
    expect(ceiling.look(privateMb * MB, isBusy)).toBe(due);
  });

  test("that is too small for any busy program is raised to what one needs, and comes down again", () => {
    const ceiling = new Ceiling(4 * MB, silentLogger);
    expect(ceiling.look(5 * MB, true)).toBe("nothing");
    expect(ceiling.isNewlyReachedBy(15 * MB)).toBe(false);
    expect(ceiling.look(15 * MB, false)).toBe("nothing");
    expect(ceiling.look(16 * MB, false)).toBe("renew if quiet");
    expect(ceiling.look(2 * MB, false)).toBe("nothing");
    expect(ceiling.look(5 * MB, false)).toBe("renew if quiet");
  });

  test("that any program begins above is raised to what a busy one needs, and told of once", () => {
    const warnings: string[] = [];
    const log = { ...silentLogger, warn: (message: string) => void warnings.push(message) };
    const ceiling = new Ceiling(1 * MB, log);
    ceiling.begin(7 * MB);
    expect([ceiling.look(8 * MB, true), ceiling.look(15 * MB, false)]).toEqual([
      "nothing",
      "nothing",
    ]);
    expect(ceiling.look(16 * MB, false)).toBe("renew if quiet");
    expect(warnings).toHaveLength(1);
  });

  test("waits longer each time that calls were in the way, also where garbage goes in between", () => {
    const ceiling = new Ceiling(DEFAULT_KB, silentLogger);
    const waits = [1, 2, 3].map(() => {
      ceiling.rest();
      ceiling.look(10 * MB, false);
      return ceiling.restsUntilMs - performance.now();
    });
    for (const [index, waitMs] of waits.entries()) {
      expect(waitMs).toBeGreaterThan(1000 * 2 ** index - 100);
      expect(waitMs).toBeLessThanOrEqual(1000 * 2 ** index);
    }
  });

  test("that was raised for much that is held does not come down for a busy program", () => {
    const ceiling = new Ceiling(DEFAULT_KB, silentLogger);
    ceiling.begin(30 * MB);
    expect(ceiling.look(40 * MB, true)).toBe("nothing");
  });

  test("is not newly reached while a renewal is due, or put off by calls", () => {
    const ceiling = new Ceiling(DEFAULT_KB, silentLogger);
    ceiling.look(DUE_KB, false);
    expect(ceiling.isNewlyReachedBy(DUE_KB)).toBe(false);
    ceiling.putOff();
    expect([ceiling.isNewlyReachedBy(DUE_KB), ceiling.grownSinceMs]).toEqual([true, undefined]);
    ceiling.rest();
    expect(ceiling.isNewlyReachedBy(DUE_KB)).toBe(false);
  });
});

test.each([
  [4.9, 4999, true],
  [5, 1000, false],
  [1, 5000, false],
])("a program that holds %d MB, %d ms old", (heldMb, ageMs, isBusy) => {
  expect(isMerelyBusy(heldMb * MB * 1024, ageMs)).toBe(isBusy);
});
