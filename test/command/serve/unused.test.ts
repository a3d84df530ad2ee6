import { describe, expect, test } from "bun:test";
import { UnusedWatch } from "../../../src/command/serve/unused.ts";

const LIMITS = { firstMs: 40, lookMs: 5, emptiedMs: 10, silentMs: 60 };
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
}) {
  const now = {
    isEmpty: true,
    hasEvents: false,
    isConnected: true,
    isCalled: false,
    isSilent: false,
    ...facts,
  };
  const reasons: string[] = [];
  let received = 0;
  const ended = Promise.withResolvers<string>();
  const watch = new UnusedWatch(
    {
      isEmpty: () => now.isEmpty,
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
  return { now, reasons, watch, ended: ended.promise };
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
