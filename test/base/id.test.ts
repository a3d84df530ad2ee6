import { describe, expect, test } from "bun:test";
import { requireId } from "../../src/base/id.ts";

describe("requireId()", () => {
  test.each(["a", "0", "_a", "k8s.io", "abc_DEF-1.2+3", "a".repeat(200)])("%s is taken", (id) => {
    expect(() => requireId("task id", id)).not.toThrow();
  });

  test.each(["", ".", "..", "-a", "+a", "a/b", "../a", "a b", "a\0b", "é", "a".repeat(201)])(
    "%j is refused",
    (id) => {
      expect(() => requireId("task id", id)).toThrow("Cannot use the task id");
    },
  );
});
