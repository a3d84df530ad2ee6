import { describe, expect, test } from "bun:test";
import { ShimError } from "../../src/base/error.ts";
import {
  advanceExec,
  advanceInit,
  type ExecState,
  type ExecVerb,
  type InitState,
  type InitVerb,
  permitExec,
  permitInit,
  terminationOf,
} from "../../src/container/lifecycle.ts";

const termination = { status: 137, signal: 9, atMs: 1 };
const created: InitState = { kind: "created" };
const checkpointed: InitState = { kind: "checkpointed" };
const running: InitState = { kind: "running" };
const paused: InitState = { kind: "paused" };
const stopped: InitState = { kind: "stopped", termination };
const deleted: InitState = { kind: "deleted", termination };

describe("advanceInit()", () => {
  test.each([
    { from: created, to: running, allowed: true },
    { from: created, to: stopped, allowed: true }, // killed before start
    { from: created, to: deleted, allowed: true },
    { from: created, to: paused, allowed: false },
    { from: checkpointed, to: running, allowed: true },
    { from: checkpointed, to: deleted, allowed: true },
    { from: running, to: paused, allowed: true },
    { from: running, to: stopped, allowed: true },
    { from: running, to: deleted, allowed: false }, // it would leave a process behind
    { from: paused, to: running, allowed: true },
    { from: paused, to: stopped, allowed: true },
    { from: stopped, to: running, allowed: false },
    { from: stopped, to: deleted, allowed: true },
    { from: deleted, to: stopped, allowed: false },
  ])("$from.kind to $to.kind is allowed: $allowed", ({ from, to, allowed }) => {
    if (allowed) expect(advanceInit(from, to)).toBe(to);
    else expect(() => advanceInit(from, to)).toThrow("Assertion failed");
  });
});

describe("permitInit()", () => {
  test.each<[InitState, InitVerb, string | undefined]>([
    [created, "start", undefined],
    [created, "delete", undefined],
    [created, "exec", undefined],
    [created, "update", undefined],
    [created, "kill", undefined],
    [created, "pause", "cannot pause task in created state"],
    [created, "resume", "cannot resume task in created state"],
    [created, "checkpoint", "cannot checkpoint a task in created state"],
    [checkpointed, "exec", "cannot exec in a created state"],
    [checkpointed, "start", undefined],
    [running, "start", "cannot start a running process"],
    [running, "delete", "cannot delete a running process"],
    [running, "resume", "cannot resume a running process"],
    [running, "checkpoint", undefined],
    [paused, "pause", "cannot pause a paused container"],
    [paused, "exec", "cannot exec in a paused state"],
    [paused, "delete", "cannot delete a paused process"],
    [paused, "kill", undefined],
    [stopped, "start", "cannot start a stopped process"],
    [stopped, "update", "cannot update a stopped container"],
    [stopped, "exec", "cannot exec in a stopped state"],
    [stopped, "kill", undefined],
    [stopped, "delete", undefined],
    [deleted, "delete", "cannot delete a deleted process"],
    [deleted, "kill", "cannot kill a deleted process"],
  ])("%o, %s: %p", (state, verb, message) => {
    if (message === undefined) expect(() => permitInit(state, verb)).not.toThrow();
    else expect(() => permitInit(state, verb)).toThrow(message);
  });

  test("what was deleted is not found; a state's refusal is of unknown reason", () => {
    const reasonOf = (state: InitState, verb: InitVerb) => {
      try {
        permitInit(state, verb);
      } catch (error) {
        return error instanceof ShimError ? error.reason : "none";
      }
      return "permitted";
    };
    expect(reasonOf(deleted, "delete")).toBe("notFound");
    expect(reasonOf(deleted, "kill")).toBe("notFound");
    expect(reasonOf(running, "delete")).toBe("unknown");
  });
});

describe("permitExec() and advanceExec()", () => {
  const execStopped: ExecState = { kind: "stopped", termination };
  test.each<[ExecState, ExecVerb, string | undefined]>([
    [{ kind: "created" }, "start", undefined],
    [{ kind: "created" }, "delete", undefined],
    [{ kind: "running" }, "start", "cannot start a running process"],
    [{ kind: "running" }, "delete", "cannot delete a running process"],
    [execStopped, "resize", "cannot resize a stopped container"],
    [execStopped, "delete", undefined],
    [{ kind: "deleted", termination }, "kill", "cannot kill a deleted process"],
  ])("%o, %s: %p", (state, verb, message) => {
    if (message === undefined) expect(() => permitExec(state, verb)).not.toThrow();
    else expect(() => permitExec(state, verb)).toThrow(message);
  });

  test("a stopped exec never runs again", () => {
    expect(() => advanceExec(execStopped, { kind: "running" })).toThrow("Assertion failed");
  });
});

describe("terminationOf()", () => {
  test("is known from the end on, and kept after deletion", () => {
    expect(terminationOf(running)).toBeUndefined();
    expect(terminationOf(stopped)).toBe(termination);
    expect(terminationOf(deleted)).toBe(termination);
  });
});
