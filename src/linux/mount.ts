/**
 * The classic mount calls and the list of what is mounted.
 *
 * Flags carry the names of mount(2) and umount2(2). Policy (what a rootfs is, what is retried) is
 * `rootfs/unmount.ts`. Each call blocks until the kernel is done.
 */

import { ptr } from "bun:ffi";
import { readFileSync } from "node:fs";
import { cString } from "./bytes.ts";
import { check } from "./errno.ts";
import { O_PATH, openFd } from "./fd.ts";
import { mountTable } from "./libc.ts";
import { escapePath, type MountInfo, parseMountInfo } from "./mountinfo.ts";

export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_SYNCHRONOUS = 16;
export const MS_REMOUNT = 32;
export const MS_MANDLOCK = 64;
export const MS_DIRSYNC = 128;
export const MS_NOATIME = 1024;
export const MS_NODIRATIME = 2048;
export const MS_BIND = 4096;
export const MS_REC = 16384;
export const MS_UNBINDABLE = 1 << 17;
export const MS_PRIVATE = 1 << 18;
export const MS_SLAVE = 1 << 19;
export const MS_SHARED = 1 << 20;
export const MS_RELATIME = 1 << 21;
export const MS_STRICTATIME = 1 << 24;

export const MNT_DETACH = 2;
export const UMOUNT_NOFOLLOW = 8;

/** The five arguments of mount(2); undefined is NULL. */
export interface MountCall {
  readonly source?: string;
  readonly target: string;
  readonly type?: string;
  readonly flags: number;
  readonly data?: string;
}

/** mount(2). Throws SystemError, and TypeError for a NUL byte. */
export function mount(call: MountCall): void {
  const texts = [call.source, call.type, call.data].map((text) =>
    text === undefined ? undefined : cString(text),
  );
  const [source, type, data] = texts.map((text) => (text === undefined ? null : ptr(text)));
  const target = cString(call.target);
  check(
    "mount",
    mountTable().mount(source ?? null, ptr(target), type ?? null, call.flags, data ?? null),
    call.target,
  );
}

/** umount2(2): removes the topmost mount at `path`. Throws SystemError: EBUSY, EINVAL (no mount there). */
export function unmount(path: string, flags = 0): void {
  const name = cString(path);
  check("umount2", mountTable().umount2(ptr(name), flags), path);
}

/**
 * Runs `action` with the working directory of the process at `directory`, for a path that only fits
 * when it is relative. `action` must be synchronous: the directory belongs to the whole process.
 */
export function inDirectory<T>(directory: string, action: () => T): T {
  using home = openFd(".", O_PATH);
  const name = cString(directory);
  check("chdir", mountTable().chdir(ptr(name)), directory);
  try {
    return action();
  } finally {
    check("fchdir", mountTable().fchdir(home.fd));
  }
}

/** Everything mounted in this process's mount namespace, usually oldest first. */
export function readMountInfo(): MountInfo[] {
  return parseMountInfo(readFileSync("/proc/self/mountinfo", "utf8"));
}

/** The mounts at `directory` and below it. `directory` is absolute and free of symlinks. */
export function mountsBelow(directory: string, mounts: readonly MountInfo[]): MountInfo[] {
  const prefix = directory.endsWith("/") ? directory : `${directory}/`;
  return mounts.filter(
    ({ mountPoint }) => mountPoint === directory || mountPoint.startsWith(prefix),
  );
}

/**
 * {@link mountsBelow} of everything mounted. Of the kernel's list, which has the mounts of all containers on
 * the machine, only lines that name the directory are parsed.
 */
export function readMountsBelow(directory: string): MountInfo[] {
  const text = readFileSync("/proc/self/mountinfo", "utf8");
  const name = ` ${escapePath(directory)}`;
  const lines: string[] = [];
  for (let at = text.indexOf(name); at >= 0; ) {
    const end = text.indexOf("\n", at);
    lines.push(text.slice(text.lastIndexOf("\n", at) + 1, end < 0 ? undefined : end));
    at = end < 0 ? end : text.indexOf(name, end);
  }
  return mountsBelow(directory, parseMountInfo(lines.join("\n")));
}

/** The mount that is visible at `directory`; undefined when none is mounted right there. */
export function topMountAt(directory: string): MountInfo | undefined {
  const here = readMountInfo().filter(({ mountPoint }) => mountPoint === directory);
  // Of a stack, the top is the one that none of the others is mounted on.
  return here.find(({ id }) => !here.some((other) => other.parentId === id));
}
