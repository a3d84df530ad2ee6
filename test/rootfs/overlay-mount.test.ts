import { describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { topMountAt } from "../../src/linux/mount.ts";
import { mountRootfs, unmountRootfs } from "../../src/rootfs/rootfs.ts";
import {
  base,
  codeOf,
  context,
  layer,
  manyLayers,
  messageFrom,
  mountsHere,
  overlay,
  rootfs,
  runWorker,
  useRootfs,
} from "./rootfs-place.ts";

useRootfs();

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
