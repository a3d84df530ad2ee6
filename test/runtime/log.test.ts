import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseLastError, readLastError } from "../../src/runtime/log.ts";

const runc = (msg: string, level = "error") => JSON.stringify({ level, msg, time: "2026-01-01" });

describe("parseLastError()", () => {
  test.each([
    ["", undefined],
    ["no json at all\n{", undefined],
    ["null\n3\n[]\n{}\n", undefined],
    [`${runc("first")}\n${runc("second")}\n`, "second"],
    [`${runc("first")}\n${runc("later", "warning")}\n`, "first"],
    [`${runc("only a warning", "warning")}\n`, undefined],
    [`${runc("  No help topic for 'x'\n")}\n`, "No help topic for 'x'"],
    [`${runc("first")}\n${runc("  ")}\n`, "first"],
    [`${runc("first")}\n{"level":"error","msg":"cut sh`, "first"],
    [`half a line"}\n${runc("whole")}`, "whole"],
    ['{"msg":"crun says","level":"error","time":"x"}\n', "crun says"],
    ['{"timestamp":"x","level":"ERROR","fields":{"message":"youki says"}}\n', "youki says"],
    ['{"level":"fatal","message":"a wrapper says"}\n', "a wrapper says"],
    ['{"level":"error","msg":7}\n', undefined],
  ])("of %j it is %j", (text, message) => {
    expect(parseLastError(text)).toBe(message);
  });
});

describe("readLastError()", () => {
  const root = mkdtempSync(join(tmpdir(), "log-"));
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  test("a log that is not there has no error", () => {
    expect(readLastError(join(root, "none"))).toBeUndefined();
  });

  test("of a huge log only the end is read", () => {
    const path = join(root, "huge");
    const noise = `${runc("far away")}\n`.repeat(400_000);
    writeFileSync(path, `${noise}${runc("the last")}\n`);
    const before = performance.now();
    expect(readLastError(path)).toBe("the last");
    expect(performance.now() - before).toBeLessThan(200);
  });

  test("an error before the last 64 KiB is not found", () => {
    const path = join(root, "early");
    writeFileSync(path, `${runc("early")}\n${`${runc("x", "debug")}\n`.repeat(2_000)}`);
    expect(readLastError(path)).toBeUndefined();
  });
});
