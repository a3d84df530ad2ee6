import { describe, expect, test } from "bun:test";
import { CallHistory } from "../../src/runtime/call-history.ts";
import { failureOf, logError, openRuncScript } from "../fake/runc-script.ts";

describe("CallHistory", () => {
  test("lists calls that run, and how those that ended did", async () => {
    using fake = openRuncScript(`${logError("no luck")}; [ "$8" = good ]`);
    const running = fake.runtime.start("good");
    expect(fake.history.list()).toMatchObject([
      { verb: "start", id: "good", durationMs: undefined, status: undefined, error: "" },
    ]);
    await running;
    await failureOf(fake.runtime.pause("bad"));
    const calls = fake.history.list();
    expect(calls).toMatchObject([
      { verb: "start", id: "good", status: 0, error: "" },
      { verb: "pause", id: "bad", status: 1, error: "no luck" },
    ]);
    for (const call of calls) expect(call.durationMs).toBeGreaterThanOrEqual(0);
  });

  test("a clock that is set moves no duration", () => {
    let dateMs = 50_000;
    let elapsedMs = 100;
    const history = new CallHistory({ dateMs: () => dateMs, elapsedMs: () => elapsedMs });
    const call = history.begin("start", "c", 1);
    dateMs = 0;
    elapsedMs = 130;
    call.end({ status: 0, error: "" });
    expect(history.list()).toMatchObject([{ startedAtMs: 50_000, durationMs: 30 }]);
  });

  test("keeps the last 32 that ended, and errors of 512 characters", () => {
    const history = new CallHistory({ dateMs: () => 7, elapsedMs: () => 0 });
    const hanging = history.begin("start", "hanging", 1);
    for (let pid = 2; pid < 100; pid++)
      history.begin("kill", "c", pid).end({ status: 1, error: "e".repeat(1_000) });
    const calls = history.list();
    expect(calls).toHaveLength(33);
    expect(calls.at(0)).toMatchObject({ pid: 68, startedAtMs: 7, durationMs: 0 });
    expect(calls.at(0)?.error).toHaveLength(512);
    expect(calls.at(-1)).toMatchObject({ id: "hanging", durationMs: undefined });
    hanging.end({ status: 0, error: "" });
    hanging.end({ status: 1, error: "twice" });
    expect(history.list()).toHaveLength(32);
    expect(history.list().at(-1)).toMatchObject({ id: "hanging", status: 0 });
  });
});
