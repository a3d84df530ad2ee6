import { describe, expect, test } from "bun:test";
import { ShimError } from "../../src/base/error.ts";
import { isPassing } from "../../src/handoff/rehearsal.ts";
import { SystemError } from "../../src/linux/errno.ts";

const [EAGAIN, ENOEXEC, EMFILE] = [11, 8, 24];

describe("a program that could not be gone on as", () => {
  test.each([
    ["calls did not come to their end", new ShimError("unavailable", "")],
    ["no process was to be had", new SystemError("exec", EAGAIN)],
    ["no descriptor was to be had", new SystemError("openat", EMFILE)],
  ])("is tried again when %s", (_, error) => {
    expect(isPassing(error)).toBe(true);
  });

  test.each([
    ["it failed its self test", new ShimError("failedPrecondition", "")],
    ["the kernel cannot run it", new SystemError("exec", ENOEXEC)],
    ["nobody knows why", new Error("x")],
  ])("is not when %s", (_, error) => {
    expect(isPassing(error)).toBe(false);
  });
});
