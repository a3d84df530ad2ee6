/** A place for tests with real mounts, and shorthands for what to mount there. */

import { afterAll, afterEach, beforeAll, beforeEach } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, rmdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { Children } from "../../src/linux/children.ts";
import {
  MNT_DETACH,
  MS_PRIVATE,
  mount,
  mountsBelow,
  readMountInfo,
  unmount,
} from "../../src/linux/mount.ts";
import { Poller } from "../../src/linux/poller.ts";
import { mountRootfs, type RootfsMount } from "../../src/rootfs/rootfs.ts";

/** Made anew for each file, as files may share this module. */
export let children: Children;
export let context: { readonly children: Children; readonly environment: readonly string[] };
export let base = "";
export let rootfs = "";

/** To be called once by a file of tests: a directory and a mount of its own for each test. */
export function useRootfs(): void {
  let poller: Poller;

  beforeAll(() => {
    poller = new Poller();
    children = new Children({ poller, reapStrays: false });
    context = { children, environment: [] };
  });

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
}

/** A directory below the test's own, with a file named after it. */
export function layer(name: string): string {
  const path = join(base, name);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, basename(name)), name);
  return path;
}

export function component(
  type: string,
  source: string,
  options: readonly string[],
  target = "",
): RootfsMount {
  return { type, source, target, options };
}

export function bind(source: string, ...options: readonly string[]): RootfsMount {
  return component("bind", source, ["bind", ...options]);
}

export function overlay(lower: readonly string[], ...options: readonly string[]): RootfsMount {
  return component("overlay", "overlay", [`lowerdir=${lower.join(":")}`, ...options]);
}

/** What {@link mountRootfs} comes to under a program that changes what the kernel says. */
export function runWorker(wrapper: readonly string[], mounts: readonly RootfsMount[]): unknown {
  const worker = join(import.meta.dir, "rootfs-worker.ts");
  const { stdout } = Bun.spawnSync(
    [...wrapper, process.execPath, worker, rootfs, JSON.stringify(mounts)],
    { cwd: "/usr" },
  );
  return JSON.parse(stdout.toString());
}

export function mountsHere(): string[] {
  return mountsBelow(join(base, "bundle"), readMountInfo()).map(({ mountPoint }) => mountPoint);
}

export function codeOf(action: () => unknown): string {
  try {
    action();
    return "none";
  } catch (thrown) {
    return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "other";
  }
}

export async function messageFrom(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => "no error",
    (thrown: unknown) => (thrown instanceof Error ? thrown.message : "no Error"),
  );
}

/** Layers in a directory that they share, as the snapshotter makes them. */
export function manyLayers(count: number, directory: string): string[] {
  return Array.from({ length: count }, (_, index) => layer(`${directory}/${index}`));
}
