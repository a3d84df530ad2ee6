import { beforeAll, describe, expect, test } from "bun:test";
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { MS_REC, MS_SHARED, mount } from "../../src/linux/mount.ts";
import { mountRootfs, unmountRootfs } from "../../src/rootfs/rootfs.ts";
import type { UnmountOptions } from "../../src/rootfs/unmount.ts";
import {
  base,
  bind,
  children,
  component,
  context,
  layer,
  messageFrom,
  mountsHere,
  rootfs,
  useRootfs,
} from "./rootfs-place.ts";

useRootfs();

describe.each([
  { way: "in a copy of the process", hasChildren: true },
  { way: "directly", hasChildren: false },
])("unmountRootfs() $way", ({ hasChildren }) => {
  let options: UnmountOptions = {};
  beforeAll(() => {
    if (hasChildren) options = { children };
  });

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

  test("a mount point is found whose name the kernel has to escape", async () => {
    const odd = join(base, "a b\tc\\d\ne");
    mkdirSync(odd);
    mount({ source: "none", target: odd, type: "tmpfs", flags: 0 });
    await unmountRootfs(odd, options);
    writeFileSync(join(odd, "seen"), "");
    expect(mountsHere()).toEqual([]);
    rmSync(odd, { recursive: true });
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
