import { expect, test } from "bun:test";
import { Activity } from "../../src/handoff/activity.ts";

/** A poller and a server to which nothing happens by itself. */
function watch() {
  const poller = { wakeups: 0, onWakeup: undefined as (() => void) | undefined };
  const server = { received: 0, onReceived: undefined as (() => void) | undefined };
  return { poller, server, activity: new Activity({ poller, server }) };
}

test("a shim that has just begun is active until two looks have found nothing", () => {
  const { activity } = watch();
  expect(activity.isActive).toBe(true);
  expect(activity.look()).toBe(false);
  expect(activity.isActive).toBe(true);
  expect(activity.look()).toBe(true);
  expect(activity.isActive).toBe(false);
});

test.each(["poller", "server"] as const)(
  "a quiet shim is active as soon as its %s is",
  (source) => {
    const { activity, poller, server } = watch();
    activity.look();
    activity.look();
    let told = 0;
    activity.onNext(() => told++);
    if (source === "poller") {
      poller.wakeups += 1;
      poller.onWakeup?.();
    } else {
      server.received += 1;
      server.onReceived?.();
    }
    expect(activity.isActive).toBe(true);
    expect(told).toBe(1);
    expect([poller.onWakeup, server.onReceived]).toEqual([undefined, undefined]);
    expect(activity.look()).toBe(false);
    expect(activity.quietSinceMs).toBe(activity.lookedAtMs);
  },
);

test("what has happened is counted up to the last look, from trim to trim", () => {
  const { activity, server } = watch();
  server.received = 7;
  activity.look();
  server.received = 9;
  expect(activity.sinceTrim.activity).toBe(7);
  activity.noteTrim();
  expect(activity.sinceTrim).toMatchObject({ activity: 0, elapsedMs: 0 });
  activity.look();
  expect(activity.sinceTrim).toMatchObject({ activity: 2, quietForMs: 0 });
  activity.look();
  const { lookedAtMs, quietSinceMs } = activity;
  expect(activity.sinceTrim.quietForMs).toBe(lookedAtMs - quietSinceMs);
});

test("quiet that is begun anew is no activity", () => {
  const { activity } = watch();
  activity.look();
  activity.look();
  activity.putOffQuiet();
  expect(activity.isActive).toBe(false);
  expect(activity.quietSinceMs).toBeGreaterThanOrEqual(activity.lookedAtMs);
});
