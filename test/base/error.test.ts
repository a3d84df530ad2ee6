import { describe, expect, test } from "bun:test";
import { messageOf } from "../../src/base/error.ts";

describe("messageOf()", () => {
  test("says what went wrong first, where undoing it went wrong too", () => {
    try {
      using undo = new DisposableStack();
      for (const text of ["third", "second"]) {
        undo.defer(() => {
          throw new Error(text);
        });
      }
      throw new Error("first");
    } catch (error) {
      expect(messageOf(error)).toBe("first");
    }
  });
});
