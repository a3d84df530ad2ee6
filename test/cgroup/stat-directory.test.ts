import { expect, test } from "bun:test";
import { readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { OpenStatFiles, statDirectory } from "../../src/cgroup/stat-directory.ts";
import { withDescriptorLimit } from "../linux/no-descriptors.ts";
import { makeTree } from "./tree.ts";

/** Descriptors of this process that are below `path`. */
function openBelow(path: string): readonly string[] {
  return readdirSync("/proc/self/fd").flatMap((name) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${name}`);
      return target.startsWith(`${path}/`) ? [target] : [];
    } catch {
      return [];
    }
  });
}

test("a file is opened once, and what it says is read anew each time", () => {
  using tree = makeTree({ "c/a": "1\n" });
  using files = new OpenStatFiles();
  const directory = files.directory(join(tree.path, "c"));
  expect(directory.read("a")).toBe("1\n");
  writeFileSync(join(tree.path, "c/a"), "another\n");
  expect(directory.read("a")).toBe("another\n");
  expect(openBelow(tree.path)).toEqual([join(tree.path, "c/a")]);
  files[Symbol.dispose]();
  expect(openBelow(tree.path)).toEqual([]);
  expect(directory.read("a")).toBe("another\n");
});

test("what is not there has no text, however it is read", () => {
  using tree = makeTree({ "c/a": "1\n" });
  using files = new OpenStatFiles();
  for (const name of ["b", "a/b"]) {
    expect(files.directory(join(tree.path, "c")).read(name)).toBeUndefined();
    expect(statDirectory(join(tree.path, "c")).read(name)).toBeUndefined();
  }
});

test("a file that cannot be read is not kept", () => {
  using tree = makeTree({ "c/d/a": "" });
  using files = new OpenStatFiles();
  expect(() => files.directory(join(tree.path, "c")).read("d")).toThrow("EISDIR");
  expect(openBelow(tree.path)).toEqual([]);
});

test("a text of many pages is read to its end, with bytes that are no characters", () => {
  const text = `${"é".repeat(20_000)}\n`;
  using tree = makeTree({ "c/a": text });
  using files = new OpenStatFiles();
  const expected = statDirectory(join(tree.path, "c")).read("a");
  expect(expected).toHaveLength(40_001);
  expect(files.directory(join(tree.path, "c")).read("a")).toBe(expected);
  // The kernel hands these out in pieces of whole lines, and they do not change.
  const ciphers = statDirectory("/proc").read("crypto");
  expect(ciphers?.length).toBeGreaterThan(4096);
  expect(files.directory("/proc").read("crypto")).toBe(ciphers);
});

test("an eighth of the descriptors is kept open, the rest is read all the same", async () => {
  const names = Array.from({ length: 40 }, (_, index) => `f${index}`);
  using tree = makeTree(Object.fromEntries(names.map((name) => [`c/${name}`, `${name}\n`])));
  using files = new OpenStatFiles();
  const directory = files.directory(join(tree.path, "c"));
  await withDescriptorLimit(160, async () => {
    for (const name of [...names, ...names]) expect(directory.read(name)).toBe(`${name}\n`);
  });
  expect(openBelow(tree.path)).toHaveLength(20);
});
