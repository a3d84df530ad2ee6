import { describe, expect, test } from "bun:test";
import { settle } from "../../src/stdio/settle.ts";

const early = 0;
const late = 50;
const veryLate = 500;

describe("settle()", () => {
  test.each([
    ["unread bytes and a quick reader", 5, true, true, early, "reader", 0],
    ["unread bytes, just now, and no reader: one may come", 5, false, true, early, "writer", 0],
    ["unread bytes and a slow reader", 5, true, true, late, "reader", 100],
    ["unread bytes and no reader: one may come", 5, false, true, late, "writer", 100],
    ["unread bytes and no reader, process alive", 5, false, false, late, "writer", 100],
    ["nobody came for long: no hurry", 5, false, true, veryLate, "writer", 1000],
    ["all read, process alive", 0, true, false, early, "reader", undefined],
    ["all read, no reader, process alive", 0, false, false, late, "reader", undefined],
    ["all read and a reader, who has its end", 0, true, true, late, "nothing", undefined],
    ["all read and what may be a reader", 0, true, true, early, "reader", 0],
    ["all read, no reader: a late one is due an end", 0, false, true, early, "writer", 0],
  ])("%s", (_title, unread, hasReader, hasExited, looks, kind, nextMs) => {
    const holding = settle({ unread, hasReader: () => hasReader, hasExited, looks });
    expect(holding.kind).toBe(kind as typeof holding.kind);
    expect("nextMs" in holding ? holding.nextMs : undefined).toBe(nextMs);
  });
});
