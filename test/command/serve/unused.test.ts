import { describe, expect, test } from "bun:test";
import { watchUnused } from "../../../src/command/serve/unused.ts";

const LIMITS = { firstMs: 40, lookMs: 5, emptiedMs: 10, silentMs: 60, endedMs: 20 };
/** Long enough for every limit to pass, several times. */
const LONG_MS = 150;

/** A shim that is connected, idle and empty, but for what is said. */
function shimWith(facts: {
  isEmpty?: boolean;
  hasEvents?: boolean;
  isConnected?: boolean;
  isCalled?: boolean;
  isSilent?: boolean;
  hasBundle?: boolean;
  hasEnded?: boolean;
}) {
  const now = {
    isEmpty: true,
    hasEvents: false,
    isConnected: true,
    isCalled: false,
    isSilent: false,
    hasEnded: false,
    ...facts,
  };
  const reasons: string[] = [];
  const looks: number[] = [];
  let received = 0;
  const ended = Promise.withResolvers<string>();
  const watch = watchUnused(
    {
      isEmpty: () => now.isEmpty,
      hasEnded: () => now.hasEnded,
      forgetLost: () => looks.push(performance.now()),
      hasEvents: () => now.hasEvents,
      isConnected: () => now.isConnected,
      isCalled: () => now.isCalled,
      // Something each time that is looked.
      received: () => (now.isSilent ? received : received++),
      hasBundle: () => facts.hasBundle ?? true,
      stop: (reason) => {
        reasons.push(reason);
        ended.resolve(reason);
      },
    },
    LIMITS,
  );
  return { now, reasons, looks, watch, ended: ended.promise };
}

describe("a shim that never had a container ends", () => {
  test("though its manager is connected, when that asks for nothing", async () => {
    const shim = shimWith({});
    using _watch = shim.watch;
    expect(await shim.ended).toBe("nobody uses it");
  });

  test("though its manager is connected, when the first could not be made", async () => {
    const shim = shimWith({});
    using _watch = shim.watch;
    shim.watch.emptied();
    expect(await shim.ended).toBe("nobody uses it");
  });

  test("soon, when its bundle is removed", async () => {
    const shim = shimWith({ hasBundle: false });
    using _watch = shim.watch;
    expect(await shim.ended).toBe("its bundle was removed");
  });
});

describe("a shim stays", () => {
  test.each([
    ["while it is called", { isCalled: true, hasBundle: false }],
    ["while events wait", { hasEvents: true }],
    ["while it has a container", { isEmpty: false, isConnected: false }],
  ])("%s", async (_why, facts) => {
    const shim = shimWith(facts);
    using _watch = shim.watch;
    await Bun.sleep(LONG_MS);
    expect(shim.reasons).toEqual([]);
  });

  test("while its first container is created, though its bundle is gone and nobody waits", async () => {
    const shim = shimWith({ hasBundle: false });
    using _watch = shim.watch;
    shim.now.isEmpty = false;
    await Bun.sleep(LONG_MS);
    expect(shim.reasons).toEqual([]);
    shim.now.isEmpty = true;
    expect(await shim.ended).toBe("its bundle was removed");
  });

  test("after its last container while its manager is connected and says something, and no longer", async () => {
    const shim = shimWith({});
    using _watch = shim.watch;
    shim.watch.used();
    shim.watch.emptied();
    await Bun.sleep(LONG_MS);
    expect(shim.reasons).toEqual([]);
    shim.now.isConnected = false;
    expect(await shim.ended).toBe("nobody uses it");
  });

  test("after its last container while its manager is silent, for a while", async () => {
    const shim = shimWith({ isSilent: true, isEmpty: false });
    using _watch = shim.watch;
    shim.watch.used();
    await Bun.sleep(LONG_MS);
    shim.now.isEmpty = true;
    const emptiedAtMs = performance.now();
    shim.watch.emptied();
    expect(await shim.ended).toBe("nobody uses it");
    expect(performance.now() - emptiedAtMs).toBeGreaterThan(LIMITS.silentMs);
  });

  test("while a silent client waits for an answer", async () => {
    const shim = shimWith({ isSilent: true, isCalled: true });
    using _watch = shim.watch;
    shim.watch.used();
    shim.watch.emptied();
    await Bun.sleep(LONG_MS);
    expect(shim.reasons).toEqual([]);
  });
});

describe("a shim looks for what it has lost", () => {
  test("as soon as it is there, and now and then, while something has ended", async () => {
    const shim = shimWith({ isEmpty: false, hasEnded: true });
    using _watch = shim.watch;
    while (shim.looks.length < 3) await Bun.sleep(5);
    shim.now.hasEnded = false;
    await Bun.sleep(LONG_MS);
    const count = shim.looks.length;
    await Bun.sleep(LONG_MS);
    expect(shim.looks).toHaveLength(count);
  });

  test("after an end, and not before", async () => {
    const shim = shimWith({ isEmpty: false });
    using _watch = shim.watch;
    shim.watch.used();
    await Bun.sleep(LONG_MS);
    expect(shim.looks).toEqual([]);
    shim.now.hasEnded = true;
    shim.watch.used();
    while (shim.looks.length === 0) await Bun.sleep(5);
  });
});
