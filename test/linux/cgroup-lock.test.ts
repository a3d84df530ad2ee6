import { expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileFunction } from "../../scripts/native.ts";
import { Rejoining } from "../../src/linux/cgroup-lock.ts";
import { until } from "../command/shim-process.ts";

const hasCompiler = Bun.which("cc") !== null;
const image = hasCompiler ? Buffer.from(await compileFunction("rejoin")).toString("base64") : "";

/** A line of /proc/self/cgroup: what is before the path, without the number, and the path. */
function memberships(): readonly { readonly key: string; readonly path: string }[] {
  return readFileSync("/proc/self/cgroup", "utf8")
    .trim()
    .split("\n")
    .map((line) => {
      const [, key = "", path = ""] = /^\d+(:[^:]*:)(.*)$/.exec(line) ?? [];
      return { key, path };
    });
}

/** A directory in the place of a mounted hierarchy, with a file for the processes of `path`. */
class FakeHierarchy implements Disposable {
  readonly mountPoint: string;
  readonly file: string;

  constructor(path: string, mountPoint = mkdtempSync(join(tmpdir(), "wedge-cgroup-"))) {
    this.mountPoint = mountPoint;
    this.file = join(mountPoint, path, "cgroup.procs");
    mkdirSync(join(this.file, ".."), { recursive: true });
    writeFileSync(this.file, "");
  }

  read(): string {
    return readFileSync(this.file, "utf8");
  }

  [Symbol.dispose](): void {
    rmSync(this.mountPoint, { recursive: true });
  }
}

/** Of an open descriptor; empty for one that has been closed meanwhile. */
function linkOf(fd: string): readonly string[] {
  try {
    return [readlinkSync(`/proc/self/fd/${fd}`)];
  } catch {
    return [];
  }
}

async function rejoin(hierarchy: { mountPoint: string; key: string }): Promise<void> {
  const rejoining = new Rejoining(image, hierarchy);
  rejoining.start();
  await until(() => !rejoining.isRunning);
}

test.skipIf(!hasCompiler)(
  "the process is moved to the cgroup where it is, in that hierarchy",
  async () => {
    for (const { key, path } of memberships()) {
      using own = new FakeHierarchy(path);
      await rejoin({ mountPoint: own.mountPoint, key });
      expect(own.read()).toBe("0");
    }
  },
);

test.skipIf(!hasCompiler)("nothing is done in a hierarchy in which it is not", async () => {
  using other = new FakeHierarchy("/");
  for (const key of [":none:", ":name=none:", "0::"]) {
    await rejoin({ mountPoint: other.mountPoint, key });
    expect(other.read()).toBe("");
  }
});

test.skipIf(!hasCompiler)("nothing is done where the cgroup cannot be reached", async () => {
  const [{ key, path } = { key: "", path: "" }] = memberships();
  await rejoin({ mountPoint: "/nonexistent", key });
  using own = new FakeHierarchy(path);
  await rejoin({ mountPoint: `${own.mountPoint}/x/..`, key });
  expect(own.read()).toBe("");
  await rejoin({ mountPoint: own.mountPoint + "/.".repeat(600), key });
  expect(own.read()).toBe("");
  await rejoin({ mountPoint: own.mountPoint + "/.".repeat(400), key });
  expect(own.read()).toBe("0");
});

test.skipIf(!hasCompiler)(
  "it can be done again and again, and leaves everything as it is",
  async () => {
    const mountPoint = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].find((place) =>
      existsSync(`${place}/cgroup.controllers`),
    );
    const before = readFileSync("/proc/self/cgroup", "utf8");
    const rejoining = new Rejoining(image, { mountPoint: mountPoint ?? "/nonexistent", key: "::" });
    for (let round = 0; round < 50; round++) {
      rejoining.start();
      rejoining.start();
      await until(() => !rejoining.isRunning);
    }
    expect(readFileSync("/proc/self/cgroup", "utf8")).toBe(before);
    const files = readdirSync("/proc/self/fd").flatMap(linkOf);
    expect(files.filter((file) => file.includes("cgroup"))).toEqual([]);
  },
);
