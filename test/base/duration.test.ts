import { expect, test } from "bun:test";
import { parseDuration } from "../../src/base/duration.ts";

test.each([
  ["500ms", 500],
  ["10s", 10_000],
  ["1.5m", 90_000],
  ["1h", 3_600_000],
  ["0s", 0],
])("%s is %d ms", (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

test.each(["", "5", "s", "-1s", "1e3s", "1 s", "5d", "1.s", "5ms "])(
  "%j is no length of time",
  (text) => {
    expect(parseDuration(text)).toBeUndefined();
  },
);
