import { describe, expect, test } from "bun:test";
import { type Logger, silentLogger } from "../../src/base/log.ts";
import { untilRead } from "../../src/container/process-stdio.ts";

const NEVER = new Promise<void>(() => {});

/** Waits for the reader of an ended process's output; returns how often it was looked for. */
async function looksUntilRead(
  isBeingRead: (looks: number) => boolean,
  options: {
    readonly exitMs?: number;
    readonly enough?: Promise<void>;
    readonly log?: Logger;
  } = {},
): Promise<number> {
  let looks = 0;
  const stdio = {
    get isBeingRead() {
      return isBeingRead(++looks);
    },
  };
  const rest = { exitMs: performance.now(), enough: NEVER, log: silentLogger, id: "c1" };
  await untilRead(stdio, { ...rest, ...options });
  return looks;
}

describe("the wait for a reader", () => {
  test("ends when it has read", async () => {
    expect(await looksUntilRead((looks) => looks < 10)).toBe(10);
  });

  test("ends when it does not read, and is no busy one", async () => {
    const looks = await looksUntilRead(() => true);
    expect(looks).toBeGreaterThan(3);
    expect(looks).toBeLessThan(50);
  });

  test("counts from the exit", async () => {
    expect(await looksUntilRead(() => true, { exitMs: performance.now() - 1000 })).toBe(1);
  });

  test("ends when it is enough", async () => {
    const enough = Promise.withResolvers<void>();
    const looks = looksUntilRead(
      (count) => {
        if (count === 3) enough.resolve();
        return true;
      },
      { exitMs: Number.POSITIVE_INFINITY, enough: enough.promise },
    );
    expect(await looks).toBeLessThanOrEqual(4);
  });

  test("is none where one cannot look, and that is said", async () => {
    const warnings: string[] = [];
    const log: Logger = { ...silentLogger, warn: (message) => warnings.push(message) };
    const isBroken = () => {
      throw new Error("broken");
    };
    await looksUntilRead(isBroken, { log });
    expect(warnings).toEqual(["Cannot see whether output is read"]);
  });
});
