import { describe, expect, test } from "bun:test";
import { daemonEnvironment } from "../../../src/command/invocation/daemon-settings.ts";

describe("daemonEnvironment()", () => {
  test.each([
    ["LD_LIBRARY_PATH", "/opt/lib:", ["LD_LIBRARY_PATH=/opt/lib"]],
    ["LD_LIBRARY_PATH", ":", []],
    ["LD_LIBRARY_PATH", "/a:.:/b", ["LD_LIBRARY_PATH=/a:/b"]],
    ["BUN_OPTIONS", "--inspect", []],
    ["BUN_BE_BUN", "1", []],
    ["NODE_OPTIONS", "--x", []],
    ["NOTIFY_SOCKET", "/n", []],
    ["LISTEN_FDS", "1", []],
    ["WATCHDOG_USEC", "1", []],
    ["PATH", "/bin", ["PATH=/bin"]],
    ["TTRPC_ADDRESS", "/t", ["TTRPC_ADDRESS=/t"]],
    ["EMPTY", "", ["EMPTY="]],
    ["UNSET", undefined, []],
  ])("%s=%s becomes %j", (name, value, wanted) => {
    expect(daemonEnvironment({ [name]: value })).toEqual(wanted);
  });
});
