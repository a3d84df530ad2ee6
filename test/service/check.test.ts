import { describe, expect, test } from "bun:test";
import { requireBundle } from "../../src/service/check.ts";

describe("requireBundle()", () => {
  test("an absolute, plain path is taken", () => {
    expect(() => requireBundle("/run/containerd/x")).not.toThrow();
  });

  test.each(["", "x", "./x", "/a/../b", "/a//b", "/a/./b", "/a\0b"])("%j is refused", (path) => {
    expect(() => requireBundle(path)).toThrow("Cannot use bundle");
  });
});
