import { describe, expect, test } from "bun:test";
import { ExecProcess, execProcessState } from "../../src/container/exec-process.ts";

const EXIT = { status: 3, signal: 0, atMs: 1000 };
const STOPPED = { kind: "stopped", termination: EXIT };

/** An exec as the document of a program before this one has it; of what is around it nothing is used. */
function restore(state: object, process: object): ExecProcess {
  const paths = { terminal: false, stdin: "", stdout: "", stderr: "" };
  const kept = { wantsStdinClosed: false, isStartAborted: false, ...process };
  const document = { execId: "e1", paths, processJson: "{}", process: kept, state };
  const nothing = {} as never;
  return ExecProcess.restore(execProcessState.parse(document, "exec"), nothing, nothing, nothing);
}

describe("of an exec that is restored,", () => {
  test("an end that is recorded and not told is waited for", async () => {
    const exec = restore(STOPPED, { isEndTold: false });
    expect(exec.termination).toEqual(EXIT);
    const order: string[] = [];
    const told = exec.wait().then((termination) => {
      order.push("told");
      return termination;
    });
    await Bun.sleep(1);
    order.push("announced");
    exec.announceTermination();
    expect(await told).toEqual(EXIT);
    expect(order).toEqual(["announced", "told"]);
    expect(await exec.wait()).toEqual(EXIT);
  });

  test("an end that is told is not told again", async () => {
    const exec = restore(STOPPED, { isEndTold: true });
    expect(exec.isEndTold).toBe(true);
    expect(await exec.wait()).toEqual(EXIT);
  });

  test.each([
    ["stopped", STOPPED, true],
    ["running", { kind: "running" }, false],
  ])("format 1 of the handoff had told the end if it was recorded: %s", (_kind, state, isTold) => {
    expect(restore(state, {}).isEndTold).toBe(isTold);
  });
});
