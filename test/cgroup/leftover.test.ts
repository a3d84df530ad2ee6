import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseMounts } from "../../src/cgroup/cgroup.ts";
import { removeEmptyCgroup } from "../../src/cgroup/leftover.ts";

const mounts = parseMounts(readFileSync("/proc/self/mountinfo", "utf8"));
const points = mounts.filter(({ root }) => root === "/").map(({ mountPoint }) => mountPoint);
const parent = `/wedge-leftover-${process.pid}`;
const directories = points.map((point) => join(point, parent));

afterAll(() => {
  for (const directory of directories) if (existsSync(directory)) rmdirSync(directory);
});

function make(name: string): readonly string[] {
  const made = directories.map((directory) => join(directory, name));
  for (const directory of made) mkdirSync(directory, { recursive: true });
  return made;
}

test("an empty cgroup is removed from every hierarchy, and its parent stays", () => {
  const made = make("empty");
  expect(made.length).toBeGreaterThan(0);
  expect(removeEmptyCgroup(`${parent}/empty`)).toBe(true);
  expect(made.filter(existsSync)).toEqual([]);
  expect(directories.filter(existsSync)).toEqual(directories);
});

test("one with a process in it stays", async () => {
  const [first = ""] = make("busy");
  const sleeper = Bun.spawn(["sleep", "1000"]);
  writeFileSync(join(first, "cgroup.procs"), String(sleeper.pid));
  expect(removeEmptyCgroup(`${parent}/busy`)).toBe(false);
  expect(existsSync(first)).toBe(true);
  sleeper.kill("SIGKILL");
  await sleeper.exited;
  while (!removeEmptyCgroup(`${parent}/busy`)) await Bun.sleep(5);
  expect(existsSync(first)).toBe(false);
});

test.each(["", "system.slice:wedge:c1", "relative/path", `${parent}/../wedge-leftover`])(
  "%j is left to others",
  (path) => {
    const made = make("other");
    expect(removeEmptyCgroup(path)).toBe(true);
    expect(made.filter(existsSync)).toEqual([...made]);
    for (const directory of made) rmdirSync(directory);
  },
);
