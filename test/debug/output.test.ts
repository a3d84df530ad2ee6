import { describe, expect, test } from "bun:test";
import { toJson } from "../../src/debug/output/output.ts";
import { withSpinner } from "../../src/debug/output/spinner.ts";
import { plainStyle, styleFor } from "../../src/debug/output/style.ts";
import { type Column, formatTable } from "../../src/debug/output/table.ts";
import { formatBytes, formatDuration, formatPercent } from "../../src/debug/output/units.ts";

interface Fruit {
  readonly name: string;
  readonly count: number;
}

const columns: readonly Column<Fruit>[] = [
  { title: "NAME", text: ({ name }) => name, isCuttable: true },
  { title: "COUNT", text: ({ count }) => String(count), align: "right" },
  { title: "REST", text: ({ count }) => "x".repeat(count % 5) },
];
const fruits: readonly Fruit[] = [
  { name: "apple", count: 3 },
  { name: "a fruit with a long name", count: 1234 },
  { name: "桃", count: 5 },
];

describe("formatTable()", () => {
  test("aligns by width on the screen, and leaves no space at the end of a line", () => {
    expect(formatTable(columns, fruits, { style: plainStyle, width: undefined })).toBe(
      [
        "NAME                      COUNT  REST",
        "apple                         3  xxx",
        "a fruit with a long name   1234  xxxx",
        "桃                            5",
        "",
      ].join("\n"),
    );
  });

  test("cuts what may be cut to the width of the terminal", () => {
    const text = formatTable(columns, fruits, { style: plainStyle, width: 24 });
    expect(Math.max(...text.split("\n").map((line) => Bun.stringWidth(line)))).toBe(24);
    expect(text).toContain("a fruit wi…   1234  xxxx");
  });

  test("without rows is its titles", () => {
    expect(formatTable(columns, [], { style: plainStyle, width: undefined })).toBe(
      "NAME  COUNT  REST\n",
    );
  });
});

describe("styleFor()", () => {
  test.each([
    { isTerminal: true, variables: { TERM: "xterm" }, isColoured: true },
    { isTerminal: false, variables: { TERM: "xterm" }, isColoured: false },
    { isTerminal: true, variables: { TERM: "xterm", NO_COLOR: "1" }, isColoured: false },
    { isTerminal: true, variables: { TERM: "xterm", NO_COLOR: "" }, isColoured: true },
    { isTerminal: true, variables: { TERM: "dumb" }, isColoured: false },
  ])("%p", ({ isTerminal, variables, isColoured }) => {
    expect(styleFor(isTerminal, variables).bad("x")).toBe(isColoured ? "\x1b[31mx\x1b[0m" : "x");
  });
});

describe("units", () => {
  test.each([
    [undefined, "-"],
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1.0 KiB"],
    [120 * 1024 ** 2, "120 MiB"],
    [3.4 * 1024 ** 3, "3.4 GiB"],
  ])("%p bytes are %s", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  test.each([
    [undefined, "-"],
    [-5, "0ms"],
    [340, "340ms"],
    [4200, "4.2s"],
    [59_900, "59s"],
    [190_000, "3m10s"],
    [180_000, "3m"],
    [18_120_000, "5h2m"],
    [1_051_200_000, "12d4h"],
  ])("%p ms are %s", (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });

  test.each([
    [undefined, "-"],
    [0.1254, "12.5%"],
    [1.4, "140%"],
  ])("%p is %s", (fraction, text) => {
    expect(formatPercent(fraction)).toBe(text);
  });
});

test("toJson() writes 64-bit integers as numbers while they are exact, as text beyond", () => {
  expect(JSON.parse(toJson({ small: 5n, large: 2n ** 60n }))).toEqual({
    small: 5,
    large: "1152921504606846976",
  });
});

describe("withSpinner()", () => {
  test("shows nothing of what is done at once, and passes its outcome on", async () => {
    const shown: string[] = [];
    const screen = { write: (text: string) => shown.push(text), style: plainStyle };
    expect(await withSpinner(screen, "working", Promise.resolve(5))).toBe(5);
    await expect(withSpinner(screen, "working", Promise.reject(new Error("no")))).rejects.toThrow(
      "no",
    );
    expect(shown).toEqual([]);
  });

  test("tells of what takes longer, and takes its line away", async () => {
    const shown: string[] = [];
    const told = Promise.withResolvers<string>();
    const screen = {
      write: (text: string) => {
        shown.push(text);
        told.resolve("done");
      },
      style: plainStyle,
    };
    expect(await withSpinner(screen, "working", told.promise)).toBe("done");
    expect(shown[0]).toStartWith("\r\x1b[K⠋ working, ");
    expect(shown.at(-1)).toBe("\r\x1b[K");
  });
});
