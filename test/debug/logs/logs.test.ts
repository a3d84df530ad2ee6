import { afterAll, describe, expect, test } from "bun:test";
import {
  appendFileSync,
  mkdtempSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseLogLine } from "../../../src/debug/logs/log-line.ts";
import { asideFiles, LogReader } from "../../../src/debug/logs/log-reader.ts";
import { withoutDescriptors } from "../../linux/no-descriptors.ts";

const directory = mkdtempSync(join(tmpdir(), "wedge-logs-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("parseLogLine()", () => {
  test.each([
    ["raw", "as it is", { at: "", stream: "stdout", text: "as it is\n" }],
    ["cri", "T1 stderr F an end", { at: "T1", stream: "stderr", text: "an end\n" }],
    ["cri", "T1 stdout P a part ", { at: "T1", stream: "stdout", text: "a part " }],
    ["cri", "T1 stdout F ", { at: "T1", stream: "stdout", text: "\n" }],
    ["cri", "no record", { at: "", stream: "stdout", text: "no record\n" }],
    [
      "json",
      '{"log":"x\\n","stream":"stderr","time":"T"}',
      { at: "T", stream: "stderr", text: "x\n" },
    ],
    ["json", '{"log":5}', { at: "", stream: "stdout", text: '{"log":5}\n' }],
    ["json", "{", { at: "", stream: "stdout", text: "{\n" }],
  ] as const)("reads %s: %s", (form, line, piece) => {
    expect(parseLogLine(line, form)).toEqual(piece);
  });
});

describe("LogReader", () => {
  test("keeps the file that it has while the next cannot be opened", async () => {
    const path = join(directory, "kept");
    writeFileSync(path, "one\n");
    using reader = new LogReader(path);
    expect([...reader.lines()]).toEqual(["one"]);
    renameSync(path, `${path}.1`);
    writeFileSync(path, "two\n");
    await withoutDescriptors(async () => expect(() => [...reader.lines()]).toThrow("EMFILE"));
    expect([...reader.lines()]).toEqual(["two"]);
  });

  test("gives whole lines, and the rest when it has come", () => {
    const path = join(directory, "whole");
    writeFileSync(path, "one\ntw");
    using reader = new LogReader(path);
    expect([...reader.lines()]).toEqual(["one"]);
    expect(reader.rest).toBe("tw");
    appendFileSync(path, "o\nthree\n");
    expect([...reader.lines()]).toEqual(["two", "three"]);
    expect(reader.rest).toBe("");
  });

  test("loses no line of a file that is put aside, and goes on with the new one", () => {
    const path = join(directory, "rotated");
    writeFileSync(path, "one\n");
    using reader = new LogReader(path);
    expect([...reader.lines()]).toEqual(["one"]);
    appendFileSync(path, "two\n");
    renameSync(path, `${path}.1`);
    writeFileSync(path, "three\n");
    expect([...reader.lines()]).toEqual(["two", "three"]);
    expect(asideFiles(path)).toEqual([`${path}.1`]);
  });

  test("begins again with a file that was cut to nothing", () => {
    const path = join(directory, "cut");
    writeFileSync(path, "a long first line\n");
    using reader = new LogReader(path);
    expect([...reader.lines()]).toEqual(["a long first line"]);
    truncateSync(path);
    appendFileSync(path, "new\n");
    expect([...reader.lines()]).toEqual(["new"]);
  });
});
