import { describe, expect, spyOn, test } from "bun:test";
import { type Logger, silentLogger } from "../../src/base/log.ts";
import { Mover } from "../../src/handoff/mover.ts";
import { isLookDue, isTrimDue } from "../../src/handoff/rhythm.ts";
import * as memory from "../../src/linux/memory.ts";
import { withoutDescriptors } from "../linux/no-descriptors.ts";

/** One of a shim that has no container, and a large frame in hand all the time. */
function makeMover(ceilingKilobytes: number, isRenewed: boolean) {
  const warnings: string[] = [];
  let asked = 0;
  const log: Logger = { ...silentLogger, warn: (message) => void warnings.push(message) };
  const server = {
    received: 0,
    onReceived: undefined as (() => void) | undefined,
    /** Asked for when a renewal is due. */
    get bytesInHand() {
      asked += 1;
      return 2 ** 30;
    },
  };
  const mover = new Mover({
    // Of all that a shim has.
    parts: { poller: { wakeups: 0 }, server, service: { size: 0 } } as never,
    log: { ...log, flush: () => {} },
    env: [],
    ownWordCount: 1,
    flags: [],
    ownPath: "",
    sleepAfterMs: 60_000,
    quietMs: undefined,
    ceilingKilobytes,
    isRenewed,
    refused: undefined,
  });
  const receive = () => {
    server.received += 1;
    server.onReceived?.();
  };
  return { mover, receive, warnings, asked: () => asked };
}

describe("a shim begins to look at itself", () => {
  test.each([0, 1])(
    "where no descriptor is left, with a ceiling of %d",
    async (ceilingKilobytes) => {
      const { mover, warnings } = makeMover(ceilingKilobytes, true);
      using _ = mover;
      await withoutDescriptors(async () => mover.start());
      const warning = "Cannot look at the memory of a renewed shim";
      expect(warnings).toEqual(ceilingKilobytes > 0 ? [warning] : []);
    },
  );
});

test("a shim that had no descriptor for a look looks again", async () => {
  const { mover, receive, warnings } = makeMover(1, false);
  using _ = mover;
  mover.start();
  await withoutDescriptors(async () => {
    while (warnings.length === 0) {
      receive();
      await Bun.sleep(10);
    }
  });
  const collect = spyOn(Bun, "gc");
  try {
    // Nothing happens any more.
    while (collect.mock.calls.length === 0) await Bun.sleep(10);
  } finally {
    collect.mockRestore();
  }
  expect(warnings).toEqual(["Cannot leave the program"]);
});

test.each([
  ["is renewed if it has grown, and not for garbage", 10, false],
  ["is renewed if it has grown, and that is no garbage", 20, true],
])("a busy shim %s", async (_what, megabytesLeft, isDue) => {
  const { mover, receive, asked } = makeMover(24 * 1024, false);
  using _ = mover;
  let megabytes = 20;
  const look = () => megabytes * 1024;
  const gauge = spyOn(memory.MemoryGauge.prototype, "read").mockImplementation(look);
  const read = spyOn(memory, "privateKilobytes").mockImplementation(look);
  const collect = spyOn(Bun, "gc").mockImplementation(() => {
    megabytes = megabytesLeft;
    return 0;
  });
  try {
    mover.start();
    while (collect.mock.calls.length === 0 || gauge.mock.calls.length < 4) {
      receive();
      await Bun.sleep(5);
    }
    expect(asked() > 0).toBe(isDue);
  } finally {
    collect.mockRestore();
    read.mockRestore();
    gauge.mockRestore();
  }
});

describe("a shim that cannot sleep", () => {
  const quiet = {
    isActive: false,
    sinceTrim: { activity: 249 },
    lookedAtMs: 6000,
    grownSinceMs: undefined,
    restsUntilMs: 0,
  };

  test("is left alone while nothing happens", () => {
    expect(isLookDue(quiet)).toBe(false);
    expect(isLookDue({ ...quiet, restsUntilMs: 5000 })).toBe(false);
  });

  test.each([
    ["something has just happened", { isActive: true }],
    ["there is garbage", { sinceTrim: { activity: 250 } }],
    ["it has grown", { grownSinceMs: 5000 }],
    ["a renewal that was in somebody's way is to be tried again", { restsUntilMs: 6001 }],
  ])("is looked at while %s", (_why, more) => {
    expect(isLookDue({ ...quiet, ...more })).toBe(true);
  });
});

test.each([
  ["something may follow", { activity: 249, elapsedMs: 60_000, quietForMs: 1000 }, false],
  ["it is quiet", { activity: 250, elapsedMs: 60_000, quietForMs: 1000 }, true],
  ["it has just become quiet", { activity: 1999, elapsedMs: 60_000, quietForMs: 999 }, false],
  ["it is busy for long", { activity: 2000, elapsedMs: 5000, quietForMs: 0 }, true],
  ["it is very busy", { activity: 2_000_000, elapsedMs: 4999, quietForMs: 0 }, false],
])("whether the heap is trimmed when %s", (_when, since, isDue) => {
  expect(isTrimDue(since)).toBe(isDue);
});
