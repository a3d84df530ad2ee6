/** Plain data is read back as it was written, or refused with the path of what does not fit. */

import { describe, expect, test } from "bun:test";
import {
  base64,
  flag,
  fromBase64,
  list,
  maybe,
  plain,
  real,
  record,
  table,
  tagged,
  toBase64,
  whole,
  word,
} from "../../src/base/shape.ts";

const shape = record({
  name: plain,
  count: whole,
  at: real,
  isOn: flag,
  bytes: base64,
  mode: word("quick", "slow"),
  note: maybe(plain),
  items: list(tagged({ pair: { one: whole }, none: {} })),
  named: table(whole),
});

const value = {
  name: "a",
  count: 3,
  at: 1.5,
  isOn: true,
  bytes: toBase64(new Uint8Array([0, 255, 10])),
  mode: "quick",
  note: undefined,
  items: [{ kind: "pair", one: 1 }, { kind: "none" }],
  named: { a: 1, ["__proto__x"]: 2 },
};

describe("a shape", () => {
  test("reads what JSON makes of its own values", () => {
    const read = shape.parse(JSON.parse(JSON.stringify(value)), "value");
    expect(JSON.stringify(read)).toBe(JSON.stringify(value));
    expect([...fromBase64(read.bytes)]).toEqual([0, 255, 10]);
  });

  test("passes over what it does not know", () => {
    expect(Object.keys(shape.parse({ ...value, unknown: 1 }, "value"))).not.toContain("unknown");
  });

  test.each([
    [{ ...value, name: 1 }, "value.name: it is not text"],
    [{ ...value, count: -1 }, "value.count"],
    [{ ...value, count: 1.5 }, "value.count"],
    [{ ...value, at: Number.NaN }, "value.at"],
    [{ ...value, isOn: "yes" }, "value.isOn"],
    [{ ...value, bytes: "?" }, "value.bytes"],
    [{ ...value, mode: "fast" }, "value.mode: it is not one of quick, slow"],
    [{ ...value, items: [{ kind: "pair" }] }, "value.items[0].one"],
    [{ ...value, items: [{ kind: "constructor" }] }, "value.items[0].kind"],
    [{ ...value, items: {} }, "value.items: it is not a list"],
    [{ ...value, named: [] }, "value.named: it is not an object"],
    ["text", "value: it is not an object"],
  ])("refuses %j", (wrong, message) => {
    expect(() => shape.parse(wrong, "value")).toThrow(message);
  });
});
