import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { resolveInRoot } from "../../src/rootfs/path-in-root.ts";

const root = mkdtempSync(join(tmpdir(), "wedge-root-"));
mkdirSync(join(root, "a/b"), { recursive: true });
symlinkSync("/etc", join(root, "absolute"));
symlinkSync("../../../../etc", join(root, "a/upward"));
symlinkSync("a/b", join(root, "inside"));
symlinkSync("loop", join(root, "loop"));
afterAll(() => rmSync(root, { recursive: true }));

test.each([
  ["", ""],
  ["/", ""],
  ["a/b", "/a/b"],
  ["/a//./b/", "/a/b"],
  ["../../etc", "/etc"],
  ["absolute/passwd", "/etc/passwd"],
  ["a/upward", "/etc"],
  ["inside/c", "/a/b/c"],
  ["inside/..", "/a"],
  ["missing/x", "/missing/x"],
])("%p leads to %p inside the root", (path, inside) => {
  expect(resolveInRoot(root, path)).toBe(root + inside);
});

test("a loop of symlinks is refused", () => {
  expect(() => resolveInRoot(root, "loop/x")).toThrow("Too many symbolic links in loop/x");
});
