import { expect, test } from "bun:test";
import { signalPid, signalProcessGroup } from "../../src/linux/pidfd.ts";

// To kill(2) these mean many, or whoever asks.
test.each([0, -1, Number.NaN])("no signal goes to process %d", (pid) => {
  expect(() => signalPid(pid, 0)).toThrow(RangeError);
});

test.each([1, 0, -1, Number.NaN])("no signal goes to process group %d", (leader) => {
  expect(() => signalProcessGroup(leader, 0)).toThrow(RangeError);
});
