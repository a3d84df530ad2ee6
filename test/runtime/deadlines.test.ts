import { expect, test } from "bun:test";
import { defaultDeadlines, parseDeadlines } from "../../src/runtime/deadlines.ts";

test("where nothing is set, the deadlines are the usual ones", () => {
  expect(parseDeadlines("")).toEqual(defaultDeadlines);
});

test("verbs that are named get their time, the others keep theirs", () => {
  expect(parseDeadlines("create=2m, kill=500ms,exec=30s,,restore=1h")).toEqual({
    ...defaultDeadlines,
    create: 120_000,
    kill: 500,
    exec: 30_000,
    restore: 3_600_000,
  });
});

test.each([
  ["create"],
  ["create=5"],
  ["create=-5s"],
  ["create=0s"],
  ["fly=5s"],
  ["version=5s"],
  ["toString=5s"],
  ["create=1e3s"],
  ["create=600h"],
  ["create=1.5s"],
  ["create=5d"],
  ["create=5s;kill=5s"],
])("%j is refused, by name", (text) => {
  expect(() => parseDeadlines(text)).toThrow(
    `Cannot use ${JSON.stringify(text)} of WEDGE_DEADLINES: it takes VERB=TIME`,
  );
});
