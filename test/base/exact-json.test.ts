import { describe, expect, test } from "bun:test";
import { parseExactly } from "../../src/base/exact-json.ts";

describe("parseExactly()", () => {
  test.each([
    "[18446744073709551615,-9223372036854775808]",
    "[1.50,1e400,-0]",
    "[1,2.0,[3]]",
    '{"a":{"b":18446744073709551615},"c":[null,true,"x"]}',
    '"\\u2028é"',
  ])("%s is written as it was read", (text) => {
    const written = JSON.stringify(parseExactly(text));
    expect(written).toBe(text.includes("\\u") ? JSON.stringify(JSON.parse(text)) : text);
  });

  test("what is no number is what it was", () => {
    expect(parseExactly('{"a":["x",true,null]}')).toEqual({ a: ["x", true, null] });
  });

  test("a number alone is one", () => {
    expect(parseExactly("7")).toBe(7);
  });

  test("throws for what is no JSON", () => {
    expect(() => parseExactly("{")).toThrow(SyntaxError);
  });
});
