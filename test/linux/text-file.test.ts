import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readText } from "../../src/linux/text-file.ts";

test("a file is its text; what is missing, a directory or of a process that has ended is not there", () => {
  const directory = mkdtempSync(join(tmpdir(), "wedge-"));
  try {
    writeFileSync(join(directory, "file"), "ein Wört\n");
    expect(readText(join(directory, "file"))).toBe("ein Wört\n");
    const { pid } = Bun.spawnSync(["true"]);
    for (const path of [
      `${directory}/none`,
      directory,
      `${directory}/file/x`,
      `/proc/${pid}/stat`,
    ]) {
      expect(readText(path)).toBeUndefined();
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});
