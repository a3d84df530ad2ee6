import { afterAll, afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { mountRootfs, type RootfsMount, unmountRootfs } from "../../src/container/rootfs.ts";
import { Children } from "../../src/linux/children.ts";
import {
  MNT_DETACH,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  MS_PRIVATE,
  MS_REC,
  MS_SHARED,
  mount,
  mountsBelow,
  readMountInfo,
  topMountAt,
  unmount,
} from "../../src/linux/mount.ts";
import { Poller } from "../../src/linux/poller.ts";

const poller = new Poller();
const children = new Children({ poller, reapStrays: false });
const context = { children };
const EXT4_IMAGE_BYTES = 4 * 1024 * 1024;

let base = "";
let rootfs = "";

beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), "wedge-rootfs-")));
  // A mount of its own, private, so that a test can share and nothing leaks out of it.
  mount({ source: "none", target: base, type: "tmpfs", flags: 0, data: "mode=755" });
  mount({ target: base, flags: MS_PRIVATE });
  rootfs = join(base, "bundle/rootfs");
  mkdirSync(join(base, "bundle"));
});

afterEach(() => {
  unmount(base, MNT_DETACH);
  // Not recursive: should a mount be left, nothing of it is removed.
  rmdirSync(base);
});

afterAll(() => {
  children[Symbol.dispose]();
  poller[Symbol.dispose]();
});

/** A directory below the test's own, with a file named after it. */
function layer(name: string): string {
  const path = join(base, name);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, basename(name)), name);
  return path;
}

function component(
  type: string,
  source: string,
  options: readonly string[],
  target = "",
): RootfsMount {
  return { type, source, target, options };
}

function bind(source: string, ...options: readonly string[]): RootfsMount {
  return component("bind", source, ["bind", ...options]);
}

function overlay(lower: readonly string[], ...options: readonly string[]): RootfsMount {
  return component("overlay", "overlay", [`lowerdir=${lower.join(":")}`, ...options]);
}

/** What {@link mountRootfs} comes to under a program that changes what the kernel says. */
function runWorker(wrapper: readonly string[], mounts: readonly RootfsMount[]): unknown {
  const worker = join(import.meta.dir, "rootfs-worker.ts");
  const { stdout } = Bun.spawnSync(
    [...wrapper, process.execPath, worker, rootfs, JSON.stringify(mounts)],
    { cwd: "/usr" },
  );
  return JSON.parse(stdout.toString());
}

function mountsHere(): string[] {
  return mountsBelow(join(base, "bundle"), readMountInfo()).map(({ mountPoint }) => mountPoint);
}

function codeOf(action: () => unknown): string {
  try {
    action();
    return "none";
  } catch (thrown) {
    return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "other";
  }
}

async function messageFrom(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => "no error",
    (thrown: unknown) => (thrown instanceof Error ? thrown.message : "no Error"),
  );
}

describe("mountRootfs()", () => {
  test("without mounts does nothing, not even a directory", async () => {
    using _mounted = await mountRootfs([], rootfs, context);
    expect(existsSync(rootfs)).toBe(false);
  });

  test("a bind shows its source; disposing leaves neither mount nor directory", async () => {
    const source = layer("one");
    {
      using _mounted = await mountRootfs([bind(source)], rootfs, context);
      expect(readdirSync(rootfs)).toEqual(["one"]);
      expect(statSync(rootfs).dev).toBe(statSync(source).dev);
    }
    expect(existsSync(rootfs)).toBe(false);
    expect(readdirSync(source)).toEqual(["one"]);
  });

  test("the directory is made with mode 0711; one that existed stays", async () => {
    mkdirSync(rootfs, { mode: 0o700 });
    {
      using _mounted = await mountRootfs([bind(layer("one"))], rootfs, context);
    }
    expect(existsSync(rootfs)).toBe(true);
    rmdirSync(rootfs);
    await mountRootfs([bind(layer("one"))], rootfs, context);
    await unmountRootfs(rootfs);
    expect(statSync(rootfs).mode & 0o777).toBe(0o711);
  });

  test("ro makes a bind read-only and its source not; other words hold with it", async () => {
    const source = layer("one");
    using _mounted = await mountRootfs([bind(source, "ro", "nosuid", "noexec")], rootfs, context);
    expect(codeOf(() => writeFileSync(join(rootfs, "new"), ""))).toBe("EROFS");
    expect(topMountAt(rootfs)?.options).toEqual(expect.arrayContaining(["ro", "nosuid", "noexec"]));
    writeFileSync(join(source, "new"), "");
  });

  test("rbind takes along what is mounted below, bind does not", async () => {
    const source = layer("one");
    mkdirSync(join(source, "sub"));
    mount({ source: "none", target: join(source, "sub"), type: "tmpfs", flags: 0 });
    writeFileSync(join(source, "sub/file"), "");
    {
      using _mounted = await mountRootfs([bind(source)], rootfs, context);
      expect(readdirSync(join(rootfs, "sub"))).toEqual([]);
    }
    using _mounted = await mountRootfs(
      [component("bind", source, ["rbind", "rw"])],
      rootfs,
      context,
    );
    expect(readdirSync(join(rootfs, "sub"))).toEqual(["file"]);
  });

  test.each([
    { word: "shared", tag: { isShared: true, isSlave: false } },
    { word: "slave", tag: { isShared: false, isSlave: true } },
    { word: "private", tag: { isShared: false, isSlave: false } },
  ])("a bind of a shared mount with $word is $tag", async ({ word, tag }) => {
    mount({ target: base, flags: MS_SHARED });
    using _mounted = await mountRootfs([bind(layer("one"), word)], rootfs, context);
    const info = topMountAt(rootfs);
    expect({
      isShared: info?.peerGroup !== undefined,
      isSlave: info?.masterGroup !== undefined,
    }).toEqual(tag);
  });

  test("tmpfs takes flags and data", async () => {
    using _mounted = await mountRootfs(
      [component("tmpfs", "tmpfs", ["nosuid", "size=64k", "mode=750"])],
      rootfs,
      context,
    );
    expect(statSync(rootfs).mode & 0o777).toBe(0o750);
    expect(topMountAt(rootfs)).toMatchObject({
      type: "tmpfs",
      superOptions: expect.stringContaining("size=64k"),
    });
  });

  test("a target is a directory inside the rootfs, and a symlink there does not lead out", async () => {
    const source = layer("one");
    mkdirSync(join(source, "inner"));
    mkdirSync(join(source, "tmp"));
    symlinkSync("/tmp", join(source, "link"));
    using _mounted = await mountRootfs(
      [
        bind(source),
        component("bind", layer("two"), ["bind"], "/inner"),
        component("bind", layer("three"), ["bind"], "link"),
      ],
      rootfs,
      context,
    );
    expect(readdirSync(join(rootfs, "inner"))).toEqual(["two"]);
    expect(readdirSync(join(rootfs, "tmp"))).toEqual(["three"]);
    expect(mountsHere().sort()).toEqual([rootfs, `${rootfs}/inner`, `${rootfs}/tmp`]);
  });

  test("a rootfs that is a symlink is mounted where it points, and unmounted there", async () => {
    const place = layer("place");
    symlinkSync(place, rootfs);
    await mountRootfs([bind(layer("one"))], rootfs, context);
    expect(readdirSync(place)).toEqual(["one"]);
    await unmountRootfs(rootfs);
    expect(readdirSync(place)).toEqual(["place"]);
  });

  test("undo takes away what was mounted here and nothing that stood there before", async () => {
    mkdirSync(rootfs);
    mount({ source: "before", target: rootfs, type: "tmpfs", flags: 0 });
    writeFileSync(join(rootfs, "mine"), "");
    {
      using _mounted = await mountRootfs([bind(layer("one")), bind(layer("two"))], rootfs, context);
      expect(mountsHere()).toHaveLength(3);
    }
    expect(readdirSync(rootfs)).toEqual(["mine"]);
    expect(topMountAt(rootfs)?.source).toBe("before");
  });

  test("when the third mount fails, the first two and the directory are gone and the layers whole", async () => {
    const [one, two] = [layer("one"), layer("two")];
    mkdirSync(join(one, "in"));
    const mounts = [
      bind(one),
      component("bind", two, ["bind", "ro"], "in"),
      bind(join(base, "no")),
    ];
    expect(await messageFrom(mountRootfs(mounts, rootfs, context))).toBe(
      `failed to mount rootfs component: bind from ${base}/no at ${rootfs}: no such file or directory: ${base}/no does not exist`,
    );
    expect(existsSync(rootfs)).toBe(false);
    expect(readdirSync(one).sort()).toEqual(["in", "one"]);
    expect(readdirSync(two)).toEqual(["two"]);
  });

  test.each([
    {
      what: "an unknown file system",
      mounts: [component("nosuchfs", "none", [])],
      text: "nosuchfs from none at",
      end: "load its module",
    },
    {
      what: "an option that the file system refuses",
      mounts: [component("tmpfs", "none", ["size=big"])],
      text: "tmpfs from none at",
      end: "invalid argument: the kernel's own log (dmesg) may tell which option",
    },
    {
      what: "a missing layer",
      mounts: [overlay(["/no/layer"])],
      text: "overlay from overlay at",
      end: "no such file or directory: /no/layer does not exist",
    },
    {
      what: "a missing directory inside",
      mounts: [component("tmpfs", "none", [], "inside")],
      text: "tmpfs from none at inside in",
      end: "/rootfs/inside does not exist",
    },
    {
      what: "containerd's own option",
      mounts: [component("tmpfs", "none", ["X-containerd.mkdir.path=/x"])],
      text: "X-containerd.mkdir.path=/x",
      end: "which has not acted on it",
    },
    {
      what: "a helper that is not there",
      mounts: [component("fuse3.no-such-file-system", "none", [])],
      text: "fuse3.no-such-file-system from none at",
      end: "",
    },
    {
      what: "a NUL byte",
      mounts: [component("tmpfs", "a\0b", [])],
      text: "String with a NUL byte",
      end: "",
    },
    {
      what: "data longer than a page",
      mounts: [component("tmpfs", "none", ["x".repeat(5000)])],
      text: "mount options is too long: 5000 bytes where the kernel reads",
      end: "give fewer or shorter options",
    },
  ])("$what is told, and nothing is left", async ({ mounts, text, end }) => {
    const message = await messageFrom(mountRootfs(mounts, rootfs, context));
    expect(message).toStartWith("failed to mount rootfs component: ");
    expect(message).toContain(text);
    expect(message).toEndWith(end);
    expect(existsSync(rootfs)).toBe(false);
    expect(mountsHere()).toEqual([]);
  });
});

describe("overlay", () => {
  test("two layers and an upper directory make one tree; writes go to the upper one alone", async () => {
    const [one, two] = [layer("one"), layer("two")];
    const options = [`upperdir=${layer("upper")}`, `workdir=${join(base, "work")}`];
    mkdirSync(join(base, "work"));
    await mountRootfs([overlay([one, two], ...options)], rootfs, context);
    expect(readdirSync(rootfs).sort()).toEqual(["one", "two", "upper"]);
    writeFileSync(join(rootfs, "one"), "changed");
    await unmountRootfs(rootfs);
    expect(readFileSync(join(one, "one"), "utf8")).toBe("one");
    expect(readFileSync(join(base, "upper/one"), "utf8")).toBe("changed");
  });

  /** Layers whose paths are long, in a directory that they share, as the snapshotter makes them. */
  function manyLayers(count: number, directory: string): string[] {
    return Array.from({ length: count }, (_, index) => layer(`${directory}/${index}`));
  }

  const home = process.cwd();
  const parent = `${"snapshots".repeat(8)}/io.containerd.snapshotter.v1.overlayfs`;

  test.each([
    { what: "just below a page", bytes: 4095 },
    { what: "just above", bytes: 4096 },
  ])("data $what ($bytes bytes) mounts", async ({ bytes }) => {
    const layers = manyLayers(20, parent);
    const used = `lowerdir=${layers.join(":")},index=off,source=`;
    // Slashes fill up to the byte: the path means the same.
    const filler = "/".repeat(bytes - (used.length - ",source=".length));
    const padded = layers.with(0, layers[0] + filler);
    const data = overlay(padded, "index=off");
    expect(data.options.join(",").length).toBe(bytes);
    using _mounted = await mountRootfs([data], rootfs, context);
    expect(readdirSync(rootfs)).toHaveLength(20);
  });

  test("hundreds of layers mount with an upper directory, and the working directory is the same", async () => {
    const layers = manyLayers(300, parent);
    mkdirSync(join(base, "work"));
    const options = [`upperdir=${layer("upper")}`, `workdir=${join(base, "work")}`, "index=off"];
    const data = overlay(layers, "nosuid", ...options);
    expect(data.options.join(",").length).toBeGreaterThan(10 * 4096);
    await mountRootfs([data], rootfs, context);
    expect(readdirSync(rootfs)).toHaveLength(301);
    writeFileSync(join(rootfs, "new"), "");
    expect(readdirSync(join(base, "upper")).sort()).toEqual(["new", "upper"]);
    expect(topMountAt(rootfs)?.options).toContain("nosuid");
    expect(process.cwd()).toBe(home);
    expect(realpathSync("/proc/self/cwd")).toBe(home);
    await unmountRootfs(rootfs);
    expect(mountsHere()).toEqual([]);
  });

  test("past a page, ro and an error of the file system hold as below it", async () => {
    const layers = manyLayers(60, parent);
    {
      using _mounted = await mountRootfs([overlay(layers, "ro")], rootfs, context);
      expect(codeOf(() => writeFileSync(join(rootfs, "new"), ""))).toBe("EROFS");
      expect(topMountAt(rootfs)?.options).toContain("ro");
    }
    const missing = [...layers, join(base, "no")];
    expect(await messageFrom(mountRootfs([overlay(missing)], rootfs, context))).toEndWith(
      `${base}/no does not exist`,
    );
    expect(
      await messageFrom(mountRootfs([overlay(layers, "nonsense=1")], rootfs, context)),
    ).toContain("nonsense");
    expect(mountsHere()).toEqual([]);
  });

  test("layers with paths of more than 255 bytes mount too", async () => {
    const deep = `${"d".repeat(200)}/${"e".repeat(200)}`;
    using _mounted = await mountRootfs([overlay(manyLayers(30, deep))], rootfs, context);
    expect(readdirSync(rootfs)).toHaveLength(30);
  });

  test("more layers than the kernel takes are refused with what to do", async () => {
    const layers = manyLayers(501, `${parent}/${"more".repeat(20)}`);
    const message = await messageFrom(mountRootfs([overlay(layers)], rootfs, context));
    expect(message).toEndWith(
      "the image has 501 layers and the kernel takes 500: build it with fewer",
    );
    expect(mountsHere()).toEqual([]);
  });

  test("with mapped ids the layers appear with the container's ids, and no other mount stays", async () => {
    const mapping = ["uidmap=0:100000:65536", "gidmap=0:200000:65536"];
    // tmpfs and overlay itself: the directory of the test is a tmpfs, which can be mapped.
    const layers = manyLayers(2, "snapshots");
    mkdirSync(join(base, "work"));
    const upper = [`upperdir=${layer("upper")}`, `workdir=${join(base, "work")}`];
    await mountRootfs([overlay(layers, ...upper, ...mapping)], rootfs, context);
    expect(mountsHere()).toEqual([rootfs]);
    const { uid, gid } = statSync(join(rootfs, "0"));
    expect([uid, gid]).toEqual([100000, 200000]);
    expect(readdirSync(join(base, "bundle"))).toEqual(["rootfs"]);
    await unmountRootfs(rootfs);
    expect(statSync(join(base, "snapshots/0/0")).uid).toBe(0);
  });
});

test("a bind with mapped ids is one mount, and read-only where that is asked for", async () => {
  const options = ["bind", "ro", "uidmap=0:7000:10", "gidmap=0:8000:10"];
  using _mounted = await mountRootfs([component("bind", layer("one"), options)], rootfs, context);
  const { uid, gid } = statSync(join(rootfs, "one"));
  expect([uid, gid]).toEqual([7000, 8000]);
  expect(mountsHere()).toEqual([rootfs]);
  expect(codeOf(() => writeFileSync(join(rootfs, "new"), ""))).toBe("EROFS");
});

test("mapped ids that overlap are refused, and nothing is left", async () => {
  const options = ["bind", "uidmap=0:7000:10,5:9000:10", "gidmap=0:8000:10"];
  const mounts = [component("bind", layer("one"), options)];
  expect(await messageFrom(mountRootfs(mounts, rootfs, context))).toContain(
    "failed to mount rootfs",
  );
  expect(existsSync(rootfs)).toBe(false);
});

const strace = "/usr/bin/strace";

describe.skipIf(!existsSync(strace))("on a kernel without fsopen(2)", () => {
  const wrapper = [strace, "-f", "-o", "/dev/null", "-e", "inject=fsopen:error=ENOSYS"];
  const data = (count: number, name: string) =>
    overlay(
      Array.from({ length: count }, (_, index) => layer(`${"s".repeat(150)}/${index}${name}`)),
    );

  test("layers past a page mount with paths relative to their parent, and the directory is the same", () => {
    const many = data(100, "/fs");
    const result = runWorker(wrapper, [many]);
    expect(result).toMatchObject({ entries: 1, cwd: "/usr", isGone: true });
    expect(result).toMatchObject({
      superOptions: expect.stringContaining("lowerdir=0/fs:1/fs:2/fs"),
    });
  });

  test("layers past what that saves are refused with what to do", () => {
    expect(runWorker(wrapper, [data(100, "n".repeat(50))])).toEqual({
      error: expect.stringMatching(
        /^failed to mount rootfs component: overlay .*: mount options is too long: \d+ bytes where the kernel reads 4095: Linux 6.7 and newer take more; .*fsopen overlay: function not implemented\)$/,
      ),
    });
    expect(mountsHere()).toEqual([]);
    expect(existsSync(rootfs)).toBe(false);
  });
});

const unshare = "/usr/bin/unshare";

test.skipIf(!existsSync(unshare))(
  "in a user namespace a read-only bind keeps the flags that are locked there",
  () => {
    const source = layer("one");
    mount({
      source: "none",
      target: source,
      type: "tmpfs",
      flags: MS_NOSUID | MS_NODEV | MS_NOEXEC,
    });
    const result = runWorker(
      [unshare, "--user", "--map-root-user", "--mount"],
      [bind(source, "ro")],
    );
    expect(result).toMatchObject({ isGone: true });
    expect(result).toMatchObject({
      options: expect.arrayContaining(["ro", "nosuid", "nodev", "noexec"]),
    });
  },
);

describe.skipIf(!existsSync(unshare))("a mount helper", () => {
  /** A mount namespace in which the helper is this script. */
  function withHelper(script: string): string[] {
    const helper = join(layer("helper"), "mount.fuse3");
    writeFileSync(helper, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const command = 'mount --bind "$0" /usr/local/sbin && exec "$@"';
    return [unshare, "--mount", "/bin/sh", "-c", command, join(base, "helper")];
  }

  const mounts = [component("fuse3.some-fs", "some", ["a=b", "c"])];

  test("mounts, told the source, the target, each option and the type", () => {
    const script =
      '[ "$*" = "some $2 -o a=b -o c -t some-fs" ] && mount -t tmpfs none "$2" && : > "$2/file"';
    expect(runWorker(withHelper(script), mounts)).toMatchObject({ entries: 1, isGone: true });
  });

  test("that fails is quoted, and what it mounted before is gone", () => {
    const script = 'mount -t tmpfs none "$2"; echo "no such luck" >&2; exit 3';
    expect(runWorker(withHelper(script), mounts)).toEqual({
      error: expect.stringMatching(/mount\.fuse3 ended with status 3: no such luck$/),
    });
    expect(existsSync(rootfs)).toBe(false);
  });
});

const canLoop = existsSync("/dev/loop-control") && existsSync("/usr/sbin/mkfs.ext4");

describe.skipIf(!canLoop)("loop", () => {
  async function image(): Promise<string> {
    const path = join(base, "image");
    writeFileSync(path, new Uint8Array(EXT4_IMAGE_BYTES));
    const argv = ["/usr/sbin/mkfs.ext4", "-q", "-F", "-O", "^has_journal", path];
    const { status } = await children.spawn({ argv, env: [], stdio: [] }).exited;
    expect(status).toBe(0);
    return path;
  }

  function devicesOf(path: string): string[] {
    return readdirSync("/sys/block").filter((name) => {
      const file = `/sys/block/${name}/loop/backing_file`;
      return existsSync(file) && readFileSync(file, "utf8").trim() === path;
    });
  }

  test.each([{ words: ["loop"] }, { words: ["loop", "direct-io"] }])(
    "an image mounts with $words; unmounting frees the device",
    async ({ words }) => {
      const path = await image();
      await mountRootfs([component("ext4", path, words)], rootfs, context);
      writeFileSync(join(rootfs, "file"), "");
      expect(devicesOf(path)).toHaveLength(1);
      await unmountRootfs(rootfs);
      expect(devicesOf(path)).toEqual([]);
    },
  );

  test("ro makes the device read-only as well", async () => {
    const path = await image();
    using _mounted = await mountRootfs([component("ext4", path, ["loop", "ro"])], rootfs, context);
    const [device] = devicesOf(path);
    expect(readFileSync(`/sys/block/${device}/ro`, "utf8").trim()).toBe("1");
  });

  test("a file that is no image is refused and its device freed", async () => {
    const path = join(base, "empty");
    writeFileSync(path, new Uint8Array(EXT4_IMAGE_BYTES));
    const mounts = [component("ext4", path, ["loop"])];
    expect(await messageFrom(mountRootfs(mounts, rootfs, context))).toContain("invalid argument");
    expect(devicesOf(path)).toEqual([]);
  });
});

describe.each([
  { way: "in a copy of the process", options: { children } },
  { way: "directly", options: {} },
])("unmountRootfs() $way", ({ options }) => {
  test("a directory that is missing, or has nothing mounted, is a success", async () => {
    await unmountRootfs(join(base, "no/such"), options);
    await unmountRootfs(layer("plain"), options);
    expect(readdirSync(join(base, "plain"))).toEqual(["plain"]);
  });

  test("a nested tree goes, stacks and mounts hidden by others too", async () => {
    mkdirSync(join(rootfs, "a"), { recursive: true });
    const tmpfs = (target: string) => {
      mount({ source: "none", target, type: "tmpfs", flags: 0 });
      mkdirSync(join(target, "a/b"), { recursive: true });
      mkdirSync(join(target, "b"), { recursive: true });
    };
    for (const target of ["", "a", "a/b", "a/b", "a", ""]) tmpfs(join(rootfs, target));
    mkdirSync(join(base, "bundle/rootfs-other"));
    mount({ source: "none", target: join(base, "bundle/rootfs-other"), type: "tmpfs", flags: 0 });
    await unmountRootfs(rootfs, options);
    expect(mountsHere()).toEqual([`${rootfs}-other`]);
    expect(readdirSync(rootfs)).toEqual(["a"]);
  });

  test("a busy mount is refused after the limit with what to do, and nothing is removed", async () => {
    const source = layer("one");
    await mountRootfs([bind(source)], rootfs, context);
    const fd = openSync(join(rootfs, "one"), "r");
    const refusal = messageFrom(unmountRootfs(rootfs, { ...options, busyLimitMs: 60 }));
    expect(await refusal).toContain("resource busy or locked: a process still works in it");
    expect(readdirSync(rootfs)).toEqual(["one"]);
    await unmountRootfs(rootfs, { ...options, busyLimitMs: 0, whenBusy: "detach" });
    expect(mountsHere()).toEqual([]);
    expect(readFileSync(fd, "utf8")).toBe("one");
    closeSync(fd);
  });

  test("a mount that is busy for a while is waited for, and others run meanwhile", async () => {
    await mountRootfs([bind(layer("one"))], rootfs, context);
    const fd = openSync(join(rootfs, "one"), "r");
    const unmounted = unmountRootfs(rootfs, options);
    setTimeout(() => closeSync(fd), 120);
    await unmounted;
    expect(mountsHere()).toEqual([]);
  });

  test("a recursive bind of a shared tree goes without its source", async () => {
    const source = layer("one");
    mkdirSync(join(source, "sub"));
    mount({ source: "none", target: join(source, "sub"), type: "tmpfs", flags: 0 });
    writeFileSync(join(source, "sub/file"), "");
    mount({ target: base, flags: MS_SHARED | MS_REC });
    const mounts = [component("bind", source, ["rbind"])];
    await mountRootfs(mounts, rootfs, context);
    expect(readdirSync(join(rootfs, "sub"))).toEqual(["file"]);
    await unmountRootfs(rootfs, options);
    expect(mountsHere()).toEqual([]);
    expect(readdirSync(join(source, "sub"))).toEqual(["file"]);
    {
      using _mounted = await mountRootfs(mounts, rootfs, context);
    }
    expect(readdirSync(join(source, "sub"))).toEqual(["file"]);
  });
});

test("removing the bundle after unmounting leaves the layers whole", async () => {
  const layers = [layer("one"), layer("two")];
  await mountRootfs([overlay(layers), bind(layer("three"))], rootfs, context);
  await unmountRootfs(rootfs);
  rmSync(join(base, "bundle"), { recursive: true });
  expect(["one", "two", "three"].map((name) => readdirSync(join(base, name)))).toEqual([
    ["one"],
    ["two"],
    ["three"],
  ]);
  unlinkSync(join(base, "one/one"));
});
