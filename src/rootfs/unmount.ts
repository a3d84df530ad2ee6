/**
 * Unmounting: a single mount (undo), or a directory with everything that is mounted below it.
 *
 * Nothing here removes a file or a directory. Whoever removes a directory after this must have seen
 * it succeed: removing through a live mount destroys what is mounted.
 */

import { readlinkSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf, ShimError } from "../base/error.ts";
import { within } from "../base/limit.ts";
import type { Children } from "../linux/children.ts";
import { hasCode, SystemError } from "../linux/errno.ts";
import {
  MNT_DETACH,
  MS_SLAVE,
  mount,
  readMountInfo,
  readMountsBelow,
  UMOUNT_NOFOLLOW,
  unmount,
} from "../linux/mount.ts";
import type { MountInfo } from "../linux/mountinfo.ts";

/** As long as containerd's own shims try. */
const BUSY_LIMIT_MS = 2500;
const BUSY_PAUSE_MS = 50;
/** Unmounting writes dirty data out; past this limit the file system counts as hung. */
const CALL_LIMIT_MS = 30_000;

export interface UnmountOptions {
  /** Unmounts in a copy of this process: writing out dirty data then holds up nobody else. */
  readonly children?: Children;
  /** What to do with a mount that stays busy: refuse, or detach it (MNT_DETACH). The former by default. */
  readonly whenBusy?: "fail" | "detach";
  /** How long a busy mount is retried, in milliseconds. */
  readonly busyLimitMs?: number;
}

/**
 * Unmounts everything at `directory` and below it, deepest first, stacked mounts too. A directory
 * that does not exist is a success.
 *
 * Throws ShimError: `failedPrecondition` when a mount is still in use after the limit,
 * `deadlineExceeded` when the kernel does not come back, `unknown` for other refusals.
 */
export async function unmountTree(directory: string, options: UnmountOptions = {}): Promise<void> {
  const path = resolveMountPoint(directory);
  if (path === undefined) return;
  const giveUpAt = performance.now() + (options.busyLimitMs ?? BUSY_LIMIT_MS);
  let flags = UMOUNT_NOFOLLOW;
  for (;;) {
    const tree = readMountsBelow(path);
    if (tree.length === 0) return;
    keepFromPeers(tree);
    const failure = await unmountPass(tree, flags, options.children);
    if (failure === undefined) continue;
    if (performance.now() < giveUpAt) await delay(BUSY_PAUSE_MS);
    else if (options.whenBusy === "detach" && (flags & MNT_DETACH) === 0) flags |= MNT_DETACH;
    else throw stillMounted(failure);
  }
}

/** Removes the topmost mount at `path` at once, used or not, and everything mounted on it. */
export function detachMount(path: string): void {
  keepFromPeers(readMountsBelow(path));
  try {
    unmount(path, MNT_DETACH | UMOUNT_NOFOLLOW);
  } catch (thrown) {
    // Already gone, as was asked for.
    if (!hasCode(thrown, "EINVAL", "ENOENT")) throw thrown;
  }
}

/** Tries each mount once, deepest first. Returns the last refusal if none was unmounted. */
async function unmountPass(
  tree: readonly MountInfo[],
  flags: number,
  children: Children | undefined,
): Promise<unknown> {
  const deepestFirst = tree.toReversed().sort((a, b) => depth(b.mountPoint) - depth(a.mountPoint));
  let failure: unknown;
  let hasProgress = false;
  for (const { mountPoint } of deepestFirst) {
    try {
      await unmountOnce(mountPoint, flags, children);
      hasProgress = true;
    } catch (thrown) {
      if (thrown instanceof ShimError) throw thrown;
      // A mount hidden by another can be reached once that one is gone: the next pass does.
      if (!(thrown instanceof SystemError)) throw thrown;
      failure = thrown;
    }
  }
  return hasProgress ? undefined : failure;
}

function depth(path: string): number {
  return path === "/" ? 0 : path.split("/").length;
}

async function unmountOnce(
  path: string,
  flags: number,
  children: Children | undefined,
): Promise<void> {
  if (children !== undefined && (flags & MNT_DETACH) === 0 && (await unmountInCopy(path, children)))
    return;
  // The copy was refused, so this is refused too, and tells why.
  unmount(path, flags);
}

/** False when the copy could not: no process to be had, or refused by the kernel. */
async function unmountInCopy(path: string, children: Children): Promise<boolean> {
  let copy: ReturnType<Children["copy"]>;
  try {
    copy = children.copy({ call: "umount", path });
  } catch (thrown) {
    if (thrown instanceof SystemError) return false;
    throw thrown;
  }
  const exit = await within(copy.exited, CALL_LIMIT_MS);
  if (exit === "late") {
    throw new ShimError(
      "deadlineExceeded",
      `Failed to unmount ${path}: its file system has not answered for ${CALL_LIMIT_MS / 1000} s`,
    );
  }
  return exit.status === 0;
}

function stillMounted(failure: unknown): ShimError {
  const isBusy = hasCode(failure, "EBUSY");
  const advice = isBusy ? ": a process still works in it or has a file of it open" : "";
  return new ShimError(
    isBusy ? "failedPrecondition" : "unknown",
    `Failed to unmount: ${messageOf(failure)}${advice}`,
    { cause: failure },
  );
}

/**
 * Makes slaves of the mounts whose peers live outside `tree`, where something is mounted on them.
 *
 * A recursive bind of a shared tree joins the peer groups of its source: unmounting a mount below the
 * copy would unmount its original as well.
 */
function keepFromPeers(tree: readonly MountInfo[]): void {
  const parents = new Set(tree.map(({ parentId }) => parentId));
  const shared = tree.filter(({ id, peerGroup }) => peerGroup !== undefined && parents.has(id));
  if (shared.length === 0) return;
  const inside = new Set(tree.map(({ id }) => id));
  const outside = readMountInfo().filter(({ id }) => !inside.has(id));
  const outsideGroups = new Set(outside.map(({ peerGroup }) => peerGroup));
  for (const { peerGroup, mountPoint } of shared) {
    if (outsideGroups.has(peerGroup)) mount({ target: mountPoint, flags: MS_SLAVE });
  }
}

/** Where mountinfo would list `directory`: absolute, without symlinks. Undefined when it does not exist. */
function resolveMountPoint(directory: string): string | undefined {
  try {
    return realpathSync(directory);
  } catch (thrown) {
    if (hasCode(thrown, "ENOENT", "ENOTDIR")) return undefined;
    // A dead file system (ENOTCONN, EIO, ESTALE) answers nothing about its own root: ask the directory above.
    if (isSymlink(directory)) throw thrown;
    return join(realpathSync(dirname(directory)), basename(directory));
  }
}

function isSymlink(path: string): boolean {
  try {
    readlinkSync(path);
    return true;
  } catch {
    // EINVAL for anything else; where nothing can be learnt it counts as a mount point.
    return false;
  }
}
