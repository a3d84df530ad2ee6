import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Inventory } from "../../src/base/inventory.ts";
import type { CgroupLocation } from "../../src/cgroup/cgroup.ts";
import { type OomWatch, restoreOom, watchOom } from "../../src/cgroup/oom.ts";
import { addInotifyWatch, IN_MODIFY, openInotify, takeInotify } from "../../src/linux/inotify.ts";
import { Poller } from "../../src/linux/poller.ts";
import { makeCgroup, makeTree, removeCgroup } from "./tree.ts";

const MEMORY_ROOT = "/sys/fs/cgroup/memory";
const LIMIT = String(8 << 20);
const poller = new Poller();

afterAll(() => poller[Symbol.dispose]());

/** A watch that counts what it is told, and lets a test wait for it. */
function watch(location: CgroupLocation) {
  return counting((onOom) => watchOom(location, poller, onOom));
}

function counting(open: (onOom: () => void) => OomWatch) {
  let told = 0;
  let wake = Promise.withResolvers<void>();
  const inner = open(() => {
    told++;
    wake.resolve();
    wake = Promise.withResolvers<void>();
  });
  return {
    inner,
    get told() {
      return told;
    },
    async reaches(count: number) {
      while (told < count) await wake.promise;
    },
    [Symbol.dispose]: () => inner[Symbol.dispose](),
  };
}

const v1 = (path: string): CgroupLocation => ({ version: 1, paths: { memory: path } });

function limit(path: string): void {
  writeFileSync(join(path, "memory.limit_in_bytes"), LIMIT);
}

/** Runs `script` inside the cgroup and blocks this process, its event loop included, until it has ended. */
function runBlocking(path: string, script: string): number | null {
  const argv = ["sh", "-c", `echo $$ > ${path}/cgroup.procs; ${script}`];
  const { exitCode, signalCode } = Bun.spawnSync(argv);
  return signalCode === "SIGKILL" ? 137 : exitCode;
}

const GREEDY = "exec tail /dev/zero";

describe.skipIf(!existsSync(`${MEMORY_ROOT}/cgroup.event_control`))("watchOom() on v1", () => {
  test("each kill is told while the container lives on", async () => {
    using cgroup = makeCgroup(MEMORY_ROOT);
    limit(cgroup.path);
    using oom = watch(v1(cgroup.path));
    for (const count of [1, 2, 3]) {
      await Bun.spawn(["sh", "-c", `echo $$ > ${cgroup.path}/cgroup.procs; ${GREEDY}`]).exited;
      await oom.reaches(count);
    }
    await oom.inner.finalCheck();
    expect(oom.told).toBe(3);
  });

  test("a kill is told by a check as soon as its victim's exit is seen, with the event loop blocked until then", () => {
    using cgroup = makeCgroup(MEMORY_ROOT);
    limit(cgroup.path);
    using oom = watch(v1(cgroup.path));
    for (const count of [1, 2, 3]) {
      expect(runBlocking(cgroup.path, GREEDY)).toBe(137);
      oom.inner.check();
      oom.inner.check();
      expect(oom.told).toBe(count);
    }
  });

  test("a kill found by the final check alone is told once, with the event loop blocked until then", async () => {
    for (let round = 0; round < 10; round++) {
      using cgroup = makeCgroup(MEMORY_ROOT);
      limit(cgroup.path);
      using oom = watch(v1(cgroup.path));
      expect(runBlocking(cgroup.path, GREEDY)).toBe(137);
      const check = oom.inner.finalCheck();
      expect(oom.told).toBe(1);
      await check;
      await Bun.sleep(0);
      expect(oom.told).toBe(1);
    }
  }, 60_000);

  test.each([
    ["at once", 0, 30],
    ["after the kernel has told of its end, too", 60, 10],
  ])(
    "a kill in a cgroup that is gone before anybody looked is told, %s",
    async (_, delay, rounds) => {
      for (let round = 0; round < rounds; round++) {
        using cgroup = makeCgroup(MEMORY_ROOT);
        limit(cgroup.path);
        using oom = watch(v1(cgroup.path));
        expect(runBlocking(cgroup.path, GREEDY)).toBe(137);
        removeCgroup(cgroup.path);
        Bun.sleepSync(delay);
        await oom.inner.finalCheck();
        expect(oom.told).toBe(1);
      }
    },
    60_000,
  );

  test.each([
    ["at once", 0],
    ["after the kernel has told of its end, too", 60],
  ])(
    "the end of a cgroup without a kill is not told as one, %s",
    async (_, delay) => {
      for (let round = 0; round < 5; round++) {
        using cgroup = makeCgroup(MEMORY_ROOT);
        limit(cgroup.path);
        using oom = watch(v1(cgroup.path));
        expect(runBlocking(cgroup.path, "kill -9 $$")).toBe(137);
        removeCgroup(cgroup.path);
        Bun.sleepSync(delay);
        await oom.inner.finalCheck();
        expect(oom.told).toBe(0);
      }
    },
    60_000,
  );

  test("with the event loop running, a kill and the cgroup's end in the same instant are told as one kill", async () => {
    for (let round = 0; round < 10; round++) {
      using cgroup = makeCgroup(MEMORY_ROOT);
      limit(cgroup.path);
      using oom = watch(v1(cgroup.path));
      // A second process removes the cgroup as soon as the first is dead, before we are told of either.
      const script = `(echo $BASHPID > ${cgroup.path}/cgroup.procs; ${GREEDY}); while ! rmdir ${cgroup.path} 2>/dev/null; do :; done`;
      await Bun.spawn(["bash", "-c", script], { stderr: "ignore" }).exited;
      expect(existsSync(cgroup.path)).toBe(false);
      await oom.inner.finalCheck();
      await oom.reaches(1);
      expect(oom.told).toBe(1);
    }
  }, 60_000);

  test("a kill in a cgroup below is told, one in a cgroup beside is not", async () => {
    using pod = makeCgroup(MEMORY_ROOT);
    limit(pod.path);
    const [victim, bystander] = [join(pod.path, "victim"), join(pod.path, "bystander")];
    mkdirSync(victim);
    mkdirSync(bystander);
    using podOom = watch(v1(pod.path));
    using victimOom = watch(v1(victim));
    using bystanderOom = watch(v1(bystander));
    await Bun.spawn(["sh", "-c", `echo $$ > ${victim}/cgroup.procs; ${GREEDY}`]).exited;
    await Promise.all([podOom.reaches(1), victimOom.reaches(1)]);
    for (const oom of [podOom, victimOom, bystanderOom]) await oom.inner.finalCheck();
    removeCgroup(bystander);
    await bystanderOom.inner.finalCheck();
    expect([podOom.told, victimOom.told, bystanderOom.told]).toEqual([1, 1, 0]);
  });

  test("a watch that goes on where another left off tells what came between, and nothing twice", async () => {
    using cgroup = makeCgroup(MEMORY_ROOT);
    limit(cgroup.path);
    const formerPoller = new Poller();
    const former = counting((onOom) => watchOom(v1(cgroup.path), formerPoller, onOom));
    runBlocking(cgroup.path, GREEDY);
    await former.inner.finalCheck();
    // The eventfd is the next one's.
    const state = former.inner.snapshot(new Inventory());
    formerPoller[Symbol.dispose]();
    runBlocking(cgroup.path, GREEDY);
    using next = counting((onOom) => restoreOom(state, poller, onOom));
    using fresh = watch(v1(cgroup.path));
    await Promise.all([next.inner.finalCheck(), fresh.inner.finalCheck()]);
    expect([former.told, next.told, fresh.told]).toEqual([1, 1, 0]);
    await next.inner.finalCheck();
    expect(next.told).toBe(1);
  });

  test("after disposal nothing is told, and no descriptor is left", async () => {
    const before = countDescriptors();
    using cgroup = makeCgroup(MEMORY_ROOT);
    limit(cgroup.path);
    const oom = watch(v1(cgroup.path));
    runBlocking(cgroup.path, GREEDY);
    oom[Symbol.dispose]();
    oom[Symbol.dispose]();
    await oom.inner.finalCheck();
    expect(oom.told).toBe(0);
    expect(countDescriptors()).toBe(before);
  });
});

describe("watchOom() on fixtures", () => {
  const events = (kills: number) => `low 0\nhigh 3\nmax 9\noom 7\noom_kill ${kills}\n`;

  test("on v2 an increase of oom_kill is told, other events are not", async () => {
    using tree = makeTree({ "memory.events": events(4) });
    using oom = watch({ version: 2, path: tree.path });
    tree.write({ "memory.events": events(4).replace("oom 7", "oom 8") });
    tree.write({ "memory.events": events(6) });
    await oom.reaches(1);
    tree.write({ "memory.events": events(7) });
    await oom.reaches(2);
    await oom.inner.finalCheck();
    expect(oom.told).toBe(2);
  });

  test.each<[version: string, file: string, location: (path: string) => CgroupLocation]>([
    ["v1", "memory.oom_control", v1],
    ["v2", "memory.events", (path) => ({ version: 2, path })],
  ])(
    "on %s a counter that cannot be read for a while is no kill, and read later",
    async (_, file, location) => {
      using tree = makeTree({ [file]: "oom_kill 0\n", "cgroup.event_control": "" });
      using oom = watch(location(tree.path));
      // A directory in its place is refused as a file is when no descriptor is left.
      rmSync(join(tree.path, file));
      mkdirSync(join(tree.path, file));
      oom.inner.check();
      await oom.inner.finalCheck();
      expect(oom.told).toBe(0);
      rmdirSync(join(tree.path, file));
      tree.write({ [file]: "oom_kill 1\n" });
      oom.inner.check();
      expect(oom.told).toBe(1);
    },
  );

  test("on v2 the final check reads what no event has told yet; a cgroup that is gone is no kill", async () => {
    using tree = makeTree({ "memory.events": events(0) });
    using oom = watch({ version: 2, path: tree.path });
    tree.write({ "memory.events": events(1) });
    await oom.inner.finalCheck();
    expect(oom.told).toBe(1);
    rmSync(tree.path, { recursive: true });
    await oom.inner.finalCheck();
    expect(oom.told).toBe(1);
  });

  test("on v1 without notifications the final check still counts", async () => {
    using tree = makeTree({ "memory.oom_control": "under_oom 0\noom_kill 1\n" });
    using oom = watch(v1(tree.path));
    tree.write({ "memory.oom_control": "under_oom 0\noom_kill 2\n" });
    await oom.inner.finalCheck();
    expect(oom.told).toBe(1);
  });

  test.each([
    [{ version: 2, path: "/no/such" }],
    [{ version: 1, paths: { memory: "/no/such" } }],
    [{ version: 1, paths: { cpu: "/tmp" } }],
  ] as const)("%j has nothing to watch", async (location) => {
    const before = countDescriptors();
    using oom = watch(location);
    await oom.inner.finalCheck();
    expect(oom.told).toBe(0);
    expect(countDescriptors()).toBe(before);
  });
});

const UNIFIED = "/sys/fs/cgroup/unified";

// Memory is accounted on v1 here and cannot be had twice, so another file of a real v2 cgroup stands for
// memory.events: the kernel tells of a change of either by the same means (cgroup_file_notify).
describe.skipIf(!existsSync(`${UNIFIED}/cgroup.controllers`))("on a real v2 cgroup", () => {
  test("inotify tells of a change, and the cgroup's end is no error", async () => {
    const cgroup = makeCgroup(UNIFIED);
    using inotify = openInotify();
    addInotifyWatch(inotify.fd, join(cgroup.path, "cgroup.events"), IN_MODIFY);
    const { promise: changed, resolve } = Promise.withResolvers<number>();
    using _watch = poller.watch(inotify.fd, { readable: true }, () =>
      resolve(takeInotify(inotify.fd)),
    );
    await Bun.spawn(["sh", "-c", `echo $$ > ${cgroup.path}/cgroup.procs`]).exited;
    expect((await changed) & IN_MODIFY).toBe(IN_MODIFY);
    cgroup[Symbol.dispose]();
    takeInotify(inotify.fd);
    expect(takeInotify(inotify.fd)).toBe(0);
  });

  test("without a memory controller there is nothing to watch", async () => {
    using cgroup = makeCgroup(UNIFIED);
    using oom = watch({ version: 2, path: cgroup.path });
    await oom.inner.finalCheck();
    expect([oom.told, oom.inner.snapshot(new Inventory()).kind]).toEqual([0, "none"]);
  });
});

/** Eventfds and inotify instances alone: the poller's and the runtime's own come and go. */
function countDescriptors(): number {
  const links = Bun.spawnSync(["ls", "-l", `/proc/${process.pid}/fd`]).stdout.toString();
  return links.split("\n").filter((line) => /inotify|eventfd/.test(line)).length;
}
