/**
 * The mounts that make a container's rootfs: mounts all or none, and unmounts them.
 *
 * mount(2) blocks until the file system is there: at once for bind and overlay, longer for a disk
 * whose journal is replayed.
 */

import { existsSync, mkdirSync, realpathSync, rmdirSync } from "node:fs";
import { messageOf, ShimError } from "../base/error.ts";
import { hasCode, SystemError } from "../linux/errno.ts";
import { mountComponent } from "./component.ts";
import type { RootfsMount } from "./mount-option.ts";
import type { ComponentPlace } from "./mount-place.ts";
import { splitLayers } from "./overlay-option.ts";
import { resolveInRoot } from "./path-in-root.ts";
import { type UnmountOptions, unmountTree } from "./unmount.ts";

export type { RootfsMount } from "./mount-option.ts";

const ROOTFS_MODE = 0o711;

/**
 * Mounts `mounts` in order at `rootfsDir`, which is made (mode 0711) when there is something to mount.
 * When one fails, those before it are undone. The caller disposes the result when a later step fails,
 * and lets go of it when all succeed: {@link unmountRootfs} is for the end.
 *
 * Disposing unmounts exactly what was mounted here, in reverse, and removes the directory if it was
 * made here and is empty.
 *
 * Throws ShimError with text that starts `failed to mount rootfs component: `: `invalidArgument` for
 * options that cannot be, `failedPrecondition` for a helper that is not installed, else `unknown`.
 */
export async function mountRootfs(
  mounts: readonly RootfsMount[],
  rootfsDir: string,
  context: Pick<ComponentPlace, "children" | "environment">,
): Promise<Disposable> {
  using undo = new DisposableStack();
  if (mounts.length > 0) makeDirectory(rootfsDir, undo);
  for (const component of mounts) {
    try {
      const target = resolveInRoot(realpathSync(rootfsDir), component.target);
      const { children, environment } = context;
      await mountComponent(component, { target, children, environment, undo });
    } catch (thrown) {
      throw componentError(component, rootfsDir, thrown);
    }
  }
  return undo.move();
}

/**
 * Unmounts a container's rootfs and everything mounted inside it. No such directory, or nothing
 * mounted there, is a success. Removes nothing: remove the bundle only after this has succeeded.
 *
 * Throws ShimError, see {@link unmountTree}.
 */
export async function unmountRootfs(rootfsDir: string, options?: UnmountOptions): Promise<void> {
  await unmountTree(rootfsDir, options);
}

function makeDirectory(path: string, undo: DisposableStack): void {
  try {
    mkdirSync(path, { mode: ROOTFS_MODE });
  } catch (thrown) {
    if (hasCode(thrown, "EEXIST")) return;
    throw new ShimError("unknown", `failed to create rootfs directory: ${messageOf(thrown)}`, {
      cause: thrown,
    });
  }
  undo.defer(() => {
    try {
      rmdirSync(path);
    } catch (thrown) {
      // Somebody put something there, or it is gone: not ours to remove.
      if (!hasCode(thrown, "ENOTEMPTY", "EBUSY", "ENOENT")) throw thrown;
    }
  });
}

function componentError(component: RootfsMount, rootfsDir: string, thrown: unknown): ShimError {
  const { type, source, target } = component;
  const place = target === "" ? rootfsDir : `${target} in ${rootfsDir}`;
  const reason = thrown instanceof ShimError ? thrown.reason : "unknown";
  const invalid = thrown instanceof TypeError ? "invalidArgument" : reason;
  return new ShimError(
    invalid,
    `failed to mount rootfs component: ${type} from ${source} at ${place}: ${explain(component, rootfsDir, thrown)}`,
    { cause: thrown },
  );
}

/** The refusal in words, with what the user can do about it where that can be determined. */
function explain(component: RootfsMount, rootfsDir: string, thrown: unknown): string {
  if (!(thrown instanceof SystemError)) return messageOf(thrown);
  // Loaded by now: the error itself has needed it.
  const { getSystemErrorMessage } = process.getBuiltinModule("node:util");
  const text = thrown.call === "mount" ? getSystemErrorMessage(-thrown.errno) : messageOf(thrown);
  switch (thrown.code) {
    case "ENOENT": {
      const missing = namedPaths(component, rootfsDir).find((path) => !existsSync(path));
      return missing === undefined ? text : `${text}: ${missing} does not exist`;
    }
    case "ENODEV":
      return `${text}: this kernel does not know the file system, load its module`;
    case "EINVAL":
      return `${text}: the kernel's own log (dmesg) may tell which option`;
    default:
      return text;
  }
}

/** Every path that a component names. */
function namedPaths(component: RootfsMount, rootfsDir: string): string[] {
  const layers = splitLayers(component.options);
  const written = component.options.flatMap((option) => {
    const [, path] = /^(?:upperdir|workdir)=(.*)$/.exec(option) ?? [];
    return path === undefined ? [] : [path];
  });
  const sources = component.source.startsWith("/") ? [component.source] : [];
  const target = resolveInRoot(rootfsDir, component.target);
  return [target, ...sources, ...(layers?.lower ?? []), ...(layers?.dataOnly ?? []), ...written];
}
