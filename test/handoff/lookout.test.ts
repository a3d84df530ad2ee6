import { expect, test } from "bun:test";
import { silentLogger } from "../../src/base/log.ts";
import { Activity } from "../../src/handoff/activity.ts";
import { Ceiling } from "../../src/handoff/ceiling.ts";
import { Lookout, type LookoutOptions } from "../../src/handoff/lookout.ts";
import { dozeAtMs } from "../../src/handoff/rhythm.ts";
import { openPipe, writeFd } from "../../src/linux/fd.ts";

/** Quiet before a doze, and what else may come in between. */
const DOZE_MS = 2000;
const SLACK_MS = 1000;

/** A shim to which nothing happens by itself, and what of its event loop can be seen: the end of a pipe. */
function makeLookout(options: Partial<LookoutOptions>) {
  const { reader, writer } = openPipe();
  const poller = { wakeups: 0, onWakeup: undefined as (() => void) | undefined };
  const server = { received: 0, onReceived: undefined as (() => void) | undefined };
  const activity = new Activity({ poller, server });
  const looks: number[] = [];
  const dozes: number[] = [];
  const lookout = new Lookout({
    activity,
    ceiling: new Ceiling(24 * 1024, silentLogger),
    sleepAfterMs: 0,
    quietMs: () => 0,
    sleepsNext: () => false,
    look: async () => {
      looks.push(performance.now());
      activity.look();
    },
    onFailure: () => {},
    restsUntilMs: () => performance.now() + DOZE_MS,
    eventLoop: () => {
      dozes.push(performance.now());
      return reader.fd;
    },
    ...options,
  });
  const happen = () => {
    poller.wakeups += 1;
    poller.onWakeup?.();
  };
  const dispose = () => {
    for (const owned of [lookout, reader, writer]) owned[Symbol.dispose]();
  };
  return { lookout, activity, looks, dozes, happen, writer, [Symbol.dispose]: dispose };
}

/** The longest time for which timers did not run, within `ms`. */
async function longestBlock(ms: number): Promise<number> {
  const endMs = performance.now() + ms;
  let longestMs = 0;
  while (performance.now() < endMs) {
    const beforeMs = performance.now();
    await Bun.sleep(5);
    longestMs = Math.max(longestMs, performance.now() - beforeMs);
  }
  return longestMs;
}

test("a quiet shim dozes until something is due", async () => {
  using shim = makeLookout({});
  shim.lookout.lookLater();
  expect(await longestBlock(DOZE_MS + SLACK_MS)).toBeGreaterThanOrEqual(DOZE_MS - 1);
  expect(shim.dozes).toHaveLength(1);
  expect((shim.dozes[0] ?? 0) - shim.activity.quietSinceMs).toBeGreaterThanOrEqual(DOZE_MS);
  // It looks at once what has happened.
  await Bun.sleep(50);
  expect(shim.looks.at(-1)).toBeGreaterThanOrEqual((shim.dozes[0] ?? 0) + DOZE_MS);
});

test("a doze ends when there is something to do for the event loop, and what follows is not slept through", async () => {
  using shim = makeLookout({ restsUntilMs: () => Number.POSITIVE_INFINITY });
  writeFd(shim.writer.fd, Uint8Array.of(1));
  shim.lookout.lookLater();
  expect(await longestBlock(DOZE_MS + SLACK_MS)).toBeLessThan(DOZE_MS);
  expect(shim.dozes).toHaveLength(1);
  shim.happen();
  expect(await longestBlock(DOZE_MS / 2)).toBeLessThan(DOZE_MS);
  expect(shim.dozes).toHaveLength(1);
});

test.each([
  ["something is in flight", { restsUntilMs: () => undefined }],
  ["the event loop cannot be found", { eventLoop: () => undefined }],
] as const)("a shim does not doze while %s", async (_why, options) => {
  using shim = makeLookout(options);
  shim.lookout.lookLater();
  expect(await longestBlock(DOZE_MS + SLACK_MS)).toBeLessThan(DOZE_MS);
  expect(shim.looks.length).toBeGreaterThan(0);
  expect(shim.dozes).toHaveLength(0);
});

test("a shim that sleeps next dozes no longer than until then", async () => {
  const quietMs = DOZE_MS + 500;
  using shim = makeLookout({
    restsUntilMs: () => Number.POSITIVE_INFINITY,
    sleepAfterMs: quietMs,
    quietMs: () => quietMs,
    sleepsNext: () => true,
  });
  shim.lookout.lookLater();
  expect(await longestBlock(quietMs + SLACK_MS)).toBeLessThan(DOZE_MS);
  expect(shim.dozes).toHaveLength(1);
  expect((shim.looks.at(-1) ?? 0) - shim.activity.quietSinceMs).toBeGreaterThanOrEqual(quietMs);
});

test("the engine has time to give freed pages back before a doze", () => {
  expect(dozeAtMs({ quietSinceMs: 1000, trimmedAtMs: Number.NEGATIVE_INFINITY })).toBe(3000);
  expect(dozeAtMs({ quietSinceMs: 1000, trimmedAtMs: 2500 })).toBe(3500);
});
