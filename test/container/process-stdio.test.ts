import { expect, test } from "bun:test";
import { type Logger, silentLogger } from "../../src/base/log.ts";
import { untilRead } from "../../src/container/process-stdio.ts";
import { OpenedStdio } from "../../src/stdio/opened-stdio.ts";

/** The stdio of an ended process, whose client may read or not. */
class Unread extends OpenedStdio {
  readonly #look: () => boolean;

  constructor(look: () => boolean) {
    super();
    this.#look = look;
  }

  override get hasUnread(): boolean {
    return this.#look();
  }
}

test("the wait for a reader ends when it has read", async () => {
  let left = 20;
  await untilRead(new Unread(() => left-- > 0), silentLogger, "c1");
  expect(left).toBe(-1);
});

test("the wait for a reader that does not read ends", async () => {
  let looks = 0;
  await untilRead(new Unread(() => ++looks > 0), silentLogger, "c1");
  expect(looks).toBeGreaterThan(3);
});

test("what cannot be looked at is not waited for, and says so", async () => {
  const warnings: string[] = [];
  const log: Logger = { ...silentLogger, warn: (message) => warnings.push(message) };
  const broken = new Unread(() => {
    throw new Error("broken");
  });
  await untilRead(broken, log, "c1");
  expect(warnings).toEqual(["Cannot see whether output is read"]);
});
