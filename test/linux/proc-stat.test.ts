import { expect, test } from "bun:test";
import { hasEnded, parseStat, readStat } from "../../src/linux/proc-stat.ts";

/** A line whose fields, from the third on, are their own numbers. */
function lineOf(name: string, state: string): string {
  const rest = Array.from({ length: 49 }, (_, index) => String(index + 4));
  return `7 (${name}) ${[state, ...rest].join(" ")}\n`;
}

test.each(["sh", "a b", "(x)", ") R 1 2 3 ("])("a process may be called %j", (name) => {
  expect(parseStat(lineOf(name, "S"))).toEqual({
    ...{ state: "S", ppid: "4", pgrp: "5", flags: "9", utime: "14", stime: "15", startTime: "22" },
    ...{ startCode: "26", endCode: "27", startStack: "28", startData: "45", endData: "46" },
    ...{ startBrk: "47", argStart: "48", argEnd: "49", envStart: "50", envEnd: "51" },
  });
});

test("this process is there, and has not ended", () => {
  const stat = readStat("/proc/self");
  expect(Number(stat?.ppid)).toBe(process.ppid);
  expect(stat && hasEnded(stat)).toBe(false);
});

test("a process that is not there has no line", () => {
  expect(readStat("/proc/self/fd")).toBeUndefined();
});
