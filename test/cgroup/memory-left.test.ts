/** How much memory a cgroup leaves its processes. */

import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { ownKilobytesLeft } from "../../src/cgroup/memory-left.ts";

const directory = mkdtempSync(join(tmpdir(), "wedge-left-"));

afterAll(() => rmSync(directory, { recursive: true }));

/** A tree of /proc and /sys/fs/cgroup with these files. */
function tree(files: Readonly<Record<string, string>>) {
  const root = mkdtempSync(join(directory, "tree-"));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return { proc: join(root, "proc"), cgroup: join(root, "cgroup") };
}

const V1 = "5:cpu,cpuacct:/a\n4:memory:/system.slice/containerd.service\n0::/x\n";
const V2 = "0::/system.slice/containerd.service\n";
const PLACE = "system.slice/containerd.service";

test.each([
  [
    "version 1",
    V1,
    { "memory.limit_in_bytes": "1048576\n", "memory.usage_in_bytes": "524288\n" },
    512,
  ],
  ["version 2", V2, { "memory.max": "2097152\n", "memory.current": "1048576\n" }, 1024],
  [
    "no limit",
    V2,
    { "memory.max": "max\n", "memory.current": "1048576\n" },
    Number.POSITIVE_INFINITY,
  ],
  ["no account", V2, {}, Number.POSITIVE_INFINITY],
])("%s", (_, cgroup, files, kilobytes) => {
  const folder = cgroup === V1 ? `cgroup/memory/${PLACE}` : `cgroup/${PLACE}`;
  const named = Object.entries(files).map(([name, text]) => [`${folder}/${name}`, text] as const);
  const roots = tree({ "proc/self/cgroup": cgroup, ...Object.fromEntries(named) });
  expect(ownKilobytesLeft(roots)).toBe(kilobytes);
});

test("what a cgroup above has left counts too", () => {
  const roots = tree({
    "proc/self/cgroup": V2,
    [`cgroup/${PLACE}/memory.max`]: "max\n",
    [`cgroup/${PLACE}/memory.current`]: "1048576\n",
    "cgroup/system.slice/memory.max": "4194304\n",
    "cgroup/system.slice/memory.current": "2097152\n",
  });
  expect(ownKilobytesLeft(roots)).toBe(2048);
});

test("this process's own can be read", () => {
  expect(ownKilobytesLeft()).toBeGreaterThan(0);
});
