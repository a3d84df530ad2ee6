import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cgroupPids } from "../../src/cgroup/pids.ts";
import { makeCgroup, makeTree } from "./tree.ts";

const UNIFIED = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].find((path) =>
  existsSync(`${path}/cgroup.controllers`),
);

describe("cgroupPids()", () => {
  test("on v1 the devices hierarchy is asked, with all below it, each process once", () => {
    using tree = makeTree({
      "memory/cgroup.procs": "999\n",
      "devices/cgroup.procs": "10\n11\n0\n",
      "devices/b/cgroup.procs": "30\n",
      "devices/a/cgroup.procs": "20\n10\n",
      "devices/a/x/cgroup.procs": "",
      "devices/a/x/y/cgroup.procs": "21\n",
      "devices/not-a-cgroup/file": "",
    });
    const paths = { memory: `${tree.path}/memory`, devices: `${tree.path}/devices` };
    expect(cgroupPids({ version: 1, paths })).toEqual([10, 11, 20, 21, 30]);
  });

  test("on v1 without devices another hierarchy is asked", () => {
    using tree = makeTree({ "cpuset/cgroup.procs": "5\n" });
    expect(cgroupPids({ version: 1, paths: { cpuset: `${tree.path}/cpuset` } })).toEqual([5]);
  });

  test("a hundred thousand processes are all told", () => {
    const pids = Array.from({ length: 100_000 }, (_, index) => index + 1);
    using tree = makeTree({ "cgroup.procs": `${pids.join("\n")}\n` });
    expect(cgroupPids({ version: 2, path: tree.path })).toEqual(pids);
  });

  test.each([
    [{ version: 2, path: "/no/such" }],
    [{ version: 1, paths: { devices: "/no/such" } }],
    [{ version: 1, paths: {} }],
  ] as const)("%j is not found", (location) => {
    expect(() => cgroupPids(location)).toThrow(
      expect.objectContaining({ reason: "notFound", message: "cgroup does not exist" }),
    );
  });

  test.skipIf(UNIFIED === undefined)(
    "real v2: processes below are told, and those of a threaded cgroup once each",
    async () => {
      using cgroup = makeCgroup(UNIFIED ?? "");
      await using top = Bun.spawn(["sleep", "60"]);
      const threaded = join(cgroup.path, "threaded");
      mkdirSync(threaded);
      writeFileSync(join(cgroup.path, "cgroup.procs"), String(top.pid));
      writeFileSync(join(threaded, "cgroup.type"), "threaded");
      // The JavaScript engine brings threads along.
      await using many = Bun.spawn([process.execPath, "-e", "setTimeout(() => {}, 60_000)"], {
        env: { BUN_BE_BUN: "1" },
      });
      writeFileSync(join(threaded, "cgroup.procs"), String(many.pid));
      expect(() => readFileSync(join(threaded, "cgroup.procs"))).toThrow(/not supported/);
      expect(readdirSync(`/proc/${many.pid}/task`).length).toBeGreaterThan(0);
      expect(cgroupPids({ version: 2, path: threaded })).toEqual([many.pid]);
      expect(cgroupPids({ version: 2, path: cgroup.path })).toEqual(
        [top.pid, many.pid].sort((a, b) => a - b),
      );
      top.kill(9);
      many.kill(9);
      await Promise.all([top.exited, many.exited]);
      expect(cgroupPids({ version: 2, path: cgroup.path })).toEqual([]);
    },
  );
});
