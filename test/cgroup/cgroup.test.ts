import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  type CgroupRoots,
  locateCgroup,
  parseMemberships,
  parseMounts,
} from "../../src/cgroup/cgroup.ts";
import { makeCgroup, makeTree, type Tree } from "./tree.ts";

function rootsOf(tree: Tree): CgroupRoots {
  return { proc: join(tree.path, "proc"), cgroup: join(tree.path, "cgroup") };
}

const HYBRID = "4:memory:/c1\n3:cpu,cpuacct:/c1\n2:name=systemd:/c1\n1:rdma:/c1\n0::/c1\n";

describe("locateCgroup()", () => {
  test("on v1 it finds the directory of each controller at its usual place", () => {
    using tree = makeTree({
      "proc/9/cgroup": HYBRID,
      "cgroup/memory/c1/memory.stat": "",
      "cgroup/cpu/c1/cpu.stat": "",
      "cgroup/cpuacct/c1/cpuacct.usage": "",
      "cgroup/systemd/c1/cgroup.procs": "",
      "cgroup/unified/cgroup.controllers": "hugetlb",
      "cgroup/unified/c1/cgroup.procs": "",
    });
    const roots = rootsOf(tree);
    const location = locateCgroup(9, roots);
    expect(location).toEqual({
      version: 1,
      paths: {
        memory: `${roots.cgroup}/memory/c1`,
        cpu: `${roots.cgroup}/cpu/c1`,
        cpuacct: `${roots.cgroup}/cpuacct/c1`,
        "name=systemd": `${roots.cgroup}/systemd/c1`,
      },
    });
    expect(JSON.parse(JSON.stringify(location))).toEqual(location);
  });

  test("on v2 it finds the one directory", () => {
    using tree = makeTree({
      "proc/9/cgroup": "0::/a.slice/b:c.scope\n",
      "cgroup/cgroup.controllers": "cpu memory\n",
      "cgroup/a.slice/b:c.scope/cgroup.procs": "",
    });
    const roots = rootsOf(tree);
    expect(locateCgroup(9, roots)).toEqual({
      version: 2,
      path: `${roots.cgroup}/a.slice/b:c.scope`,
    });
  });

  test("a v1 hierarchy beside a unified host does not make it v1", () => {
    using tree = makeTree({
      "proc/9/cgroup": "1:net_cls:/\n0::/c1\n",
      "proc/9/stat": "9 (x) S 1 1 1 0 -1 0 0",
      "cgroup/cgroup.controllers": "cpu memory\n",
      "cgroup/net_cls/tasks": "",
      "cgroup/c1/cgroup.procs": "",
    });
    expect(locateCgroup(9, rootsOf(tree))).toMatchObject({ version: 2 });
  });

  test("where a mount shows only a part of the hierarchy, the path is taken relative to it", () => {
    using tree = makeTree({ "proc/9/cgroup": "4:memory:/docker/outer/c 1\n0::/docker/outer/u\n" });
    const { path } = tree;
    tree.write({
      "odd place/c 1/memory.stat": "",
      "proc/self/mountinfo": [
        `1 2 0:3 / /proc rw - proc proc rw`,
        `1 2 0:3 /docker/other ${path}/odd\\040place rw shared:1 - cgroup cgroup rw,memory`,
        `1 2 0:3 /docker/outer ${path}/odd\\040place rw shared:1 master:2 - cgroup cgroup rw,memory`,
        "",
      ].join("\n"),
    });
    expect(locateCgroup(9, rootsOf(tree))).toEqual({
      version: 1,
      paths: { memory: `${path}/odd place/c 1` },
    });
  });

  test("v2 alone at a place of its own is found through the mounts", () => {
    using tree = makeTree({ "proc/9/cgroup": "0::/c1\n" });
    const { path } = tree;
    tree.write({
      "elsewhere/c1/cgroup.procs": "",
      "proc/self/mountinfo": `1 2 0:3 / ${path}/elsewhere rw - cgroup2 cgroup2 rw\n`,
    });
    expect(locateCgroup(9, rootsOf(tree))).toEqual({ version: 2, path: `${path}/elsewhere/c1` });
  });

  test.each([
    ["4:memory:/user\n3:pids:/c1\n0::/user\n", { pids: "pids/c1" }],
    ["4:memory:/user\n3:pids:/user\n0::/user\n", undefined],
    ["4:memory:/c1\n3:pids:/c1\n0::/user\n", { memory: "memory/c1", pids: "pids/c1" }],
  ])("a cgroup in which this process is too is not the container's: %j", (memberships, found) => {
    using tree = makeTree({
      "proc/9/cgroup": memberships,
      "proc/self/cgroup": "4:memory:/user\n3:pids:/user\n0::/user\n",
      "cgroup/memory/user/memory.stat": "",
      "cgroup/memory/c1/memory.stat": "",
      "cgroup/pids/user/pids.current": "",
      "cgroup/pids/c1/pids.current": "",
    });
    const roots = rootsOf(tree);
    const location = locateCgroup(9, roots);
    const text = JSON.stringify(location ?? null).replaceAll(`${roots.cgroup}/`, "");
    expect(JSON.parse(text)).toEqual(found === undefined ? null : { version: 1, paths: found });
  });

  test("on v2 the cgroup of this process is not the container's", () => {
    using tree = makeTree({
      "proc/9/cgroup": "0::/user.slice\n",
      "proc/self/cgroup": "0::/user.slice\n",
      "cgroup/cgroup.controllers": "memory\n",
      "cgroup/user.slice/memory.events": "",
    });
    expect(locateCgroup(9, rootsOf(tree))).toBeUndefined();
  });

  test.each([
    ["no such process", {}],
    ["no cgroup file system", { "proc/9/cgroup": "4:memory:/c1\n0::/c1\n" }],
    [
      "a removed cgroup",
      { "proc/9/cgroup": "0::/c1 (deleted)\n", "cgroup/cgroup.controllers": "" },
    ],
    [
      "a path of another cgroup namespace, which leads out of the mount",
      {
        "proc/9/cgroup": "4:memory:/../other\n",
        "cgroup/other/memory.stat": "",
        "cgroup/memory/memory.stat": "",
      },
    ],
    [
      "a dying process, which v1 counts as one of the root cgroup",
      {
        "proc/9/cgroup": "4:memory:/\n0::/\n",
        "proc/9/stat": "9 (a) b) Z 1 1 1 0 -1 4194564 0",
        "cgroup/memory/memory.stat": "",
      },
    ],
    ["nonsense", { "proc/9/cgroup": "what\n4:memory\n::\n" }],
  ])("%s: undefined", (_, files) => {
    using tree = makeTree(files);
    expect(locateCgroup(9, rootsOf(tree))).toBeUndefined();
  });

  test("a living process in the root cgroup is found there", () => {
    using tree = makeTree({
      "proc/9/cgroup": "4:memory:/\n",
      "proc/9/stat": "9 (a) b) S 1 1 1 0 -1 4194560 0",
      "cgroup/memory/memory.stat": "",
    });
    const roots = rootsOf(tree);
    expect(locateCgroup(9, roots)).toEqual({
      version: 1,
      paths: { memory: `${roots.cgroup}/memory` },
    });
  });

  test.skipIf(!existsSync("/sys/fs/cgroup/memory/cgroup.procs"))(
    "a process moved into a cgroup of this machine is found there, until it is dead",
    async () => {
      using cgroup = makeCgroup("/sys/fs/cgroup/memory");
      await using child = Bun.spawn(["sleep", "60"]);
      await Bun.write(join(cgroup.path, "cgroup.procs"), String(child.pid));
      expect(locateCgroup(child.pid)).toMatchObject({
        version: 1,
        paths: { memory: cgroup.path },
      });
      child.kill(9);
      await child.exited;
      expect(locateCgroup(child.pid)).toBeUndefined();
    },
  );
});

test("parseMemberships() keeps colons in paths and commas apart", () => {
  expect(parseMemberships("12:cpu,cpuacct:/a:b/c\n0::/\n")).toEqual([
    { controllers: ["cpu", "cpuacct"], path: "/a:b/c" },
    { controllers: [], path: "/" },
  ]);
});

test("parseMounts() skips what is no cgroup, however odd the line", () => {
  const lines = [
    "36 35 98:0 / /mnt rw master:1 - ext3 /dev/root rw",
    "36 35 0:1 / /x - cgroup",
    "- cgroup",
    "36 35 0:1 / /a\\134b\\011c rw - cgroup cg rw,xattr,name=systemd",
    "36 35 0:1 / /u rw - cgroup2 cg rw,nsdelegate",
  ];
  expect(parseMounts(lines.join("\n"))).toEqual([
    {
      version: 1,
      root: "/",
      mountPoint: "/a\\b\tc",
      controllers: ["rw", "xattr", "name=systemd"],
    },
    { version: 2, root: "/", mountPoint: "/u", controllers: [] },
  ]);
});
