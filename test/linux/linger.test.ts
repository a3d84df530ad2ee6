import { describe, expect, test } from "bun:test";
import { Linger, stayAwake } from "../../src/linux/linger.ts";

describe("stayAwake", () => {
  test("looks at once, and no more once it is so", () => {
    let looks = 0;
    const isReady = () => {
      looks++;
      return true;
    };
    expect(stayAwake(0, isReady)).toBe(true);
    expect(looks).toBe(1);
  });

  test("looks until it is so", () => {
    let looks = 0;
    expect(stayAwake(10_000, () => ++looks === 10)).toBe(true);
    expect(looks).toBe(10);
  });

  test("gives up", () => {
    expect(stayAwake(1)).toBe(false);
  });
});

describe("Linger", () => {
  /** One whose clock stands still but for `passMs`. */
  function setUp() {
    let nowMs = 0;
    const linger = new Linger(() => nowMs);
    return {
      linger,
      passMs: (ms: number) => {
        nowMs += ms;
      },
      /** An event, which takes a moment to be served. Returns whether the next is worth waiting for. */
      serve: () => {
        linger.noteEvent();
        nowMs += 5;
        return linger.noteServed();
      },
    };
  }

  test("waits for no event after the first", () => {
    expect(setUp().serve()).toBe(false);
  });

  test("waits where the last event came soon after the one before was served", () => {
    const { serve, passMs } = setUp();
    serve();
    passMs(0.05);
    expect(serve()).toBe(true);
    passMs(0.05);
    expect(serve()).toBe(true);
    passMs(0.15);
    expect(serve()).toBe(false);
  });

  test("goes on after a wait that was worth it", () => {
    const { linger, serve } = setUp();
    serve();
    serve();
    linger.wait(() => true);
    expect(serve()).toBe(true);
  });

  test("waits no more after a wait in vain, until an event comes soon by itself", () => {
    const { linger, serve } = setUp();
    serve();
    serve();
    linger.wait(() => false);
    expect(linger.noteServed()).toBe(false);
    expect(serve()).toBe(true);
  });
});
