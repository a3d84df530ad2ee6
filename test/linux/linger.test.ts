import { describe, expect, test } from "bun:test";
import { Linger } from "../../src/linux/linger.ts";

/** One whose clock stands still but for `passMs` and for what a yield takes. */
function setUp({ yieldMs = 0.01 } = {}) {
  let nowMs = 1000;
  let yieldTakesMs = yieldMs;
  let yields = 0;
  let isCrowded = false;
  const linger = new Linger({
    now: () => nowMs,
    yieldProcessor: () => {
      yields++;
      nowMs += yieldTakesMs;
    },
    isCrowded: () => isCrowded,
  });
  return {
    linger,
    passMs: (ms: number) => {
      nowMs += ms;
    },
    setCrowded: (now: boolean) => {
      isCrowded = now;
    },
    setYieldMs: (ms: number) => {
      yieldTakesMs = ms;
    },
    /** How often the processor was given away since this was last asked. */
    yields: () => {
      const count = yields;
      yields = 0;
      return count;
    },
    /** An event, which takes a moment to be served. Returns whether the next is waited for awake. */
    serve: () => {
      linger.noteEvent();
      nowMs += 5;
      linger.noteServed();
      return linger.stayAwake();
    },
  };
}

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("Linger", () => {
  test("does not stay awake after the first event", () => {
    expect(setUp().serve()).toBe(false);
  });

  test("stays awake where an event came soon after the one before was served", () => {
    const { serve, passMs } = setUp();
    serve();
    passMs(0.05);
    expect(serve()).toBe(true);
    passMs(0.05);
    expect(serve()).toBe(true);
    passMs(0.15);
    expect(serve()).toBe(false);
  });

  test("does not stay awake while others need the processor", () => {
    const { serve, passMs, setCrowded } = setUp();
    serve();
    setCrowded(true);
    passMs(0.05);
    expect(serve()).toBe(false);
    setCrowded(false);
    passMs(1);
    serve();
    passMs(0.05);
    expect(serve()).toBe(true);
  });

  test("waits in the next turn, once, until anything that is watched has an event", async () => {
    const { linger, serve, yields } = setUp();
    let looks = 0;
    using _never = linger.watch(() => false);
    using _soon = linger.watch(() => ++looks === 4);
    serve();
    expect([serve(), serve()]).toEqual([true, true]);
    expect(looks).toBe(0);
    await nextTurn();
    expect(looks).toBe(4);
    expect(yields()).toBe(3);
  });

  test("goes on after a wait that was worth it", async () => {
    const { linger, serve } = setUp();
    using _always = linger.watch(() => true);
    serve();
    serve();
    await nextTurn();
    expect(serve()).toBe(true);
  });

  test("waits 50 microseconds, and no more after that until an event comes soon by itself", async () => {
    const { linger, serve, passMs, yields } = setUp();
    using _never = linger.watch(() => false);
    serve();
    serve();
    await nextTurn();
    expect(yields()).toBe(5);
    // As a poller does that looks once more.
    expect(linger.stayAwake()).toBe(false);
    passMs(0.06);
    expect(serve()).toBe(false);
    passMs(0.06);
    expect(serve()).toBe(true);
    await nextTurn();
  });

  test("asks nobody who is watched no more", async () => {
    const { linger, serve } = setUp();
    let looks = 0;
    linger.watch(() => ++looks > 0)[Symbol.dispose]();
    serve();
    serve();
    await nextTurn();
    expect(looks).toBe(0);
  });

  test("leaves the processor to others where it came back late, each time for longer", async () => {
    const { linger, passMs, yields } = setUp({ yieldMs: 0.6 });
    for (const restMs of [1, 2, 4, 8, 16, 32, 64, 64]) {
      linger.pass(0.016);
      expect(yields()).toBe(1);
      passMs(restMs - 0.1);
      linger.pass(0.016);
      linger.noteServed();
      linger.noteEvent();
      expect(linger.stayAwake()).toBe(false);
      expect(yields()).toBe(0);
      passMs(0.2);
    }
    linger.noteServed();
    linger.noteEvent();
    expect(linger.stayAwake()).toBe(true);
    await nextTurn();
  });

  test("rests no longer than at first where the processor has come back at once since", () => {
    const { linger, passMs, yields, setYieldMs } = setUp({ yieldMs: 0.6 });
    linger.pass(0.016);
    passMs(1);
    linger.pass(0.016);
    passMs(2);
    setYieldMs(0.01);
    linger.pass(0.016);
    setYieldMs(0.6);
    linger.pass(0.016);
    passMs(1);
    yields();
    linger.pass(0.016);
    expect(yields()).toBe(1);
  });

  test("lets time pass", () => {
    const { linger, yields } = setUp();
    linger.pass(0.035);
    expect(yields()).toBe(4);
  });
});
