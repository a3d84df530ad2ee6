import { CString, type Pointer } from "bun:ffi";
import { describe, expect, test } from "bun:test";
import { cString, cStringArray } from "../../src/linux/bytes.ts";

describe("cStringArray()", () => {
  const read = (texts: readonly string[]): readonly string[] => {
    const { pointers } = cStringArray(texts);
    expect(pointers.length).toBe(texts.length + 1);
    expect(pointers.at(-1)).toBe(0n);
    return [...pointers.slice(0, -1)].map((pointer) =>
      new CString(Number(pointer) as Pointer).toString(),
    );
  };

  test.each([
    [["runc", "--log", "/a b/log.json"]],
    [["", "after an empty one", ""]],
    [["ü=ö", "😀", "plain"]],
    [[]],
  ])("%j", (texts) => {
    expect(read(texts)).toEqual(texts);
  });

  test("a NUL byte would cut a string short", () => {
    expect(() => cStringArray(["fine", "not\0fine"])).toThrow(
      'String with a NUL byte: "not\\u0000fine"',
    );
    expect(() => cString("not\0fine")).toThrow(TypeError);
  });
});
