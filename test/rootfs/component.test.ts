import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MS_NODEV, MS_NOEXEC, MS_NOSUID, mount } from "../../src/linux/mount.ts";
import { mountRootfs, unmountRootfs } from "../../src/rootfs/rootfs.ts";
import {
  base,
  bind,
  children,
  codeOf,
  component,
  context,
  layer,
  messageFrom,
  mountsHere,
  rootfs,
  runWorker,
  useRootfs,
} from "./rootfs-place.ts";

useRootfs();

const EXT4_IMAGE_BYTES = 4 * 1024 * 1024;

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

  test("is looked for in PATH first, and started with the environment", () => {
    const home = join(layer("home"), "bin");
    mkdirSync(home);
    const isFirst = `[ "$(command -v mount.fuse3)" = "${home}/mount.fuse3" ]`;
    const script = `[ "$OPTION" = kept ] && ${isFirst} && mount -t tmpfs none "$2"`;
    writeFileSync(join(home, "mount.fuse3"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const variables = ["env", "OPTION=kept", `PATH=relative:${home}:${process.env["PATH"]}`];
    expect(runWorker([...withHelper("exit 9"), ...variables], mounts)).toMatchObject({
      entries: 0,
      isGone: true,
    });
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
