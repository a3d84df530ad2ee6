import { describe, expect, test } from "bun:test";
import { silentLogger } from "../../src/base/log.ts";
import { Ceiling, isMerelyBusy } from "../../src/handoff/ceiling.ts";

const MB = 1024;
const DEFAULT_KB = 24 * MB;
/** Where a renewal is due by default. */
const DUE_KB = 19_661;

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

  test("is near at four fifths of it", () => {
    const ceiling = new Ceiling(DEFAULT_KB, silentLogger);
    expect(ceiling.isExceededBy(DUE_KB - 1)).toBe(false);
    expect(ceiling.isNewlyReachedBy(DUE_KB - 1)).toBe(false);
    expect(ceiling.look(DUE_KB - 1, false)).toBe("nothing");
    expect(ceiling.isExceededBy(DUE_KB)).toBe(true);
    expect(ceiling.isNewlyReachedBy(DUE_KB)).toBe(true);
    expect(ceiling.look(DUE_KB, false)).toBe("renew if quiet");
  });

  test("that is near asks for a quiet instant, and after some patience for one that is made", async () => {
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
    ["that is too small for a busy program is passed", 4, 17, true, "nothing"],
    ["is passed no farther than that needs", 4, 18, true, "renew if quiet"],
    ["is not passed for any other one", 4, 17, false, "renew if quiet"],
    ["that is high enough is not passed for it", 24, 19.3, true, "renew if quiet"],
  ] as const)("%s", (_what, ceilingMb, privateMb, isBusy, due) => {
    const ceiling = new Ceiling(ceilingMb * MB, silentLogger);
    expect(ceiling.look(privateMb * MB, isBusy)).toBe(due);
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
  [5.9, 9999, true],
  [6, 1000, false],
  [1, 10_000, false],
])("a program that holds %d MB, %d ms old", (heldMb, ageMs, isBusy) => {
  expect(isMerelyBusy(heldMb * MB * 1024, ageMs)).toBe(isBusy);
});
