import { describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { MS_SHARED, mount, topMountAt } from "../../src/linux/mount.ts";
import { mountRootfs, unmountRootfs } from "../../src/rootfs/rootfs.ts";
import {
  base,
  bind,
  codeOf,
  component,
  context,
  layer,
  messageFrom,
  mountsHere,
  overlay,
  rootfs,
  useRootfs,
} from "./rootfs-place.ts";

useRootfs();

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
