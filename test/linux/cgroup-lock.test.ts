import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { compileFunction } from "../../scripts/native.ts";
import { CgroupLock } from "../../src/linux/cgroup-lock.ts";
import { Children } from "../../src/linux/children.ts";
import { openPipe, readFd } from "../../src/linux/fd.ts";
import { makeFifo } from "../../src/linux/fifo.ts";
import { Poller } from "../../src/linux/poller.ts";
import { until } from "../command/shim-process.ts";

const hasCompiler = Bun.which("cc") !== null;
const image = hasCompiler ? Buffer.from(await compileFunction("rejoin")).toString("base64") : "";
const poller = new Poller();
const children = new Children({ poller, reapStrays: false });

afterAll(() => {
  children[Symbol.dispose]();
  poller[Symbol.dispose]();
});

/** The lines of /proc/self/cgroup: what is between the number and the path, and the path. */
function memberships(): readonly { readonly key: string; readonly path: string }[] {
  const lines = readFileSync("/proc/self/cgroup", "utf8").trim().split("\n");
  return lines.map((line) => {
    const [, key = "", path = ""] = /^\d+(:[^:]*:)(.*)$/.exec(line) ?? [];
    return { key, path };
  });
}

const [own = { key: "", path: "" }] = memberships();

/** A directory in the place of a mounted hierarchy, with a file for the processes of `path`. */
class FakeHierarchy implements Disposable {
  readonly mountPoint = mkdtempSync(join(tmpdir(), "wedge-cgroup-"));
  readonly file: string;

  constructor(path: string) {
    this.file = join(this.mountPoint, path, "cgroup.procs");
    mkdirSync(dirname(this.file), { recursive: true });
    writeFileSync(this.file, "");
  }

  /** What has been written to it. */
  get written(): string {
    return readFileSync(this.file, "utf8");
  }

  [Symbol.dispose](): void {
    rmSync(this.mountPoint, { recursive: true });
  }
}

async function rejoin(mountPoint: string, key: string): Promise<void> {
  const hierarchy = { mountPoint, key };
  const exit = await children.copy({ call: "rejoin", image, hierarchy }).exited;
  expect(exit).toMatchObject({ status: 0, signal: 0 });
}

describe.skipIf(!hasCompiler)("a copy that rejoins", () => {
  test("writes itself to the cgroup where this process is, in that hierarchy", async () => {
    for (const { key, path } of memberships()) {
      using hierarchy = new FakeHierarchy(path);
      await rejoin(hierarchy.mountPoint, key);
      expect(hierarchy.written).toBe("0");
    }
  });

  test("does nothing in a hierarchy that it is not in", async () => {
    using hierarchy = new FakeHierarchy("/");
    for (const key of [":none:", ":name=none:", "0::"]) {
      await rejoin(hierarchy.mountPoint, key);
      expect(hierarchy.written).toBe("");
    }
  });

  test("does nothing where the cgroup is not, or not within the hierarchy", async () => {
    using hierarchy = new FakeHierarchy(own.path);
    await rejoin("/nonexistent", own.key);
    mkdirSync(join(hierarchy.mountPoint, "x"));
    await rejoin(`${hierarchy.mountPoint}/x/..`, own.key);
    expect(hierarchy.written).toBe("");
  });

  test("takes paths of a thousand bytes, and nothing longer", async () => {
    using hierarchy = new FakeHierarchy(own.path);
    await rejoin(hierarchy.mountPoint + "/.".repeat(600), own.key);
    expect(hierarchy.written).toBe("");
    await rejoin(hierarchy.mountPoint + "/.".repeat(400), own.key);
    expect(hierarchy.written).toBe("0");
  });

  test("changes no cgroup of this process, and leaves no descriptor open in it", async () => {
    const cgroups = readFileSync("/proc/self/cgroup", "utf8");
    const files = () => readdirSync("/proc/self/fd").length;
    await rejoin("/sys/fs/cgroup/unified", "::");
    const before = files();
    for (let round = 0; round < 30; round++) await rejoin("/sys/fs/cgroup/unified", "::");
    expect(files()).toBe(before);
    expect(readFileSync("/proc/self/cgroup", "utf8")).toBe(cgroups);
  });
});

/** A hierarchy in which moves wait until the test reads from it, as for the kernel's lock. */
class SlowHierarchy extends FakeHierarchy {
  readonly place = { mountPoint: this.mountPoint, key: own.key, file: "x" };
  /** For a lock in a kernel that takes its time, or, with files written there, another. */
  readonly options = { image, places: [this.place], kernelDirectory: this.mountPoint };

  constructor() {
    super(own.path);
    rmSync(this.file);
    makeFifo(this.file, 0o600);
    writeFileSync(join(this.mountPoint, "x"), "");
  }

  /** Lets one go on. */
  async read(): Promise<string> {
    return await Bun.file(this.file).text();
  }
}

/** The processes that this one waits for. */
function childPids(): readonly string[] {
  const tasks = readdirSync("/proc/self/task");
  const lists = tasks.map((task) => readFileSync(`/proc/self/task/${task}/children`, "utf8"));
  return lists.flatMap((list) => list.split(" ").filter((pid) => pid !== ""));
}

describe.skipIf(!hasCompiler)("CgroupLock", () => {
  test("moves a copy at a time, and waits for none", async () => {
    using hierarchy = new SlowHierarchy();
    const lock = new CgroupLock(children, hierarchy.options);
    for (let round = 0; round < 3; round++) {
      lock.expectMove();
      lock.expectMove();
      expect(childPids()).toHaveLength(1);
      expect(await hierarchy.read()).toBe("0");
      await until(() => childPids().length === 0);
    }
  });

  test("what is closed while a copy waits is closed", async () => {
    using hierarchy = new SlowHierarchy();
    const lock = new CgroupLock(children, hierarchy.options);
    const { reader, writer } = openPipe();
    using _reader = reader;
    lock.expectMove();
    const [pid] = childPids();
    await until(() => readdirSync(`/proc/${pid}/fd`).length === 0);
    writer[Symbol.dispose]();
    expect(readFd(reader.fd, new Uint8Array(1))).toBe(0);
    expect(await hierarchy.read()).toBe("0");
    await until(() => childPids().length === 0);
  });

  test.each([
    ["1", "0", false],
    ["1", "1", true],
    ["0", "0", true],
    ["2", "0", false],
  ])(
    "with grace periods expedited: %s, and normal: %s, moves a copy: %p",
    async (expedited, normal, moves) => {
      using hierarchy = new SlowHierarchy();
      writeFileSync(join(hierarchy.mountPoint, "rcu_expedited"), `${expedited}\n`);
      writeFileSync(join(hierarchy.mountPoint, "rcu_normal"), `${normal}\n`);
      new CgroupLock(children, hierarchy.options).expectMove();
      expect(childPids()).toHaveLength(moves ? 1 : 0);
      if (moves) expect(await hierarchy.read()).toBe("0");
      await until(() => childPids().length === 0);
    },
  );

  test("where the kernel's word cannot be read, a copy is moved", async () => {
    using hierarchy = new SlowHierarchy();
    mkdirSync(join(hierarchy.mountPoint, "rcu_expedited"));
    new CgroupLock(children, hierarchy.options).expectMove();
    expect(childPids()).toHaveLength(1);
    expect(await hierarchy.read()).toBe("0");
    await until(() => childPids().length === 0);
  });

  test.each([
    ["the code", { image: "", places: [{ mountPoint: "/proc", key: "::", file: "self" }] }],
    ["a hierarchy", { image, places: [{ mountPoint: "/nonexistent", key: "::", file: "x" }] }],
  ])("does nothing without %s", (_, options) => {
    const lock = new CgroupLock(children, options);
    lock.expectMove();
    expect(childPids()).toEqual([]);
  });
});
