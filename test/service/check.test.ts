import { describe, expect, test } from "bun:test";
import { requireBundle, requireId } from "../../src/service/check.ts";

describe("requireId()", () => {
  test.each(["a", "0", "abc_DEF-1.2+3", "a".repeat(200)])("%s is taken", (id) => {
    expect(() => requireId("task id", id)).not.toThrow();
  });

  test.each(["", ".", "..", "-a", "a/b", "../a", "a b", "a\0b", "é", "a".repeat(201)])(
    "%j is refused",
    (id) => {
      expect(() => requireId("task id", id)).toThrow("Cannot use task id");
    },
  );
});

describe("requireBundle()", () => {
  test("an absolute, plain path is taken", () => {
    expect(() => requireBundle("/run/containerd/x")).not.toThrow();
  });

  test.each(["", "x", "./x", "/a/../b", "/a//b", "/a/./b", "/a\0b"])("%j is refused", (path) => {
    expect(() => requireBundle(path)).toThrow("Cannot use bundle");
  });
});
