/** Resolves a path inside a directory that acts as the root: no symlink and no `..` leads out of it. */

import { readlinkSync } from "node:fs";
import { join } from "node:path";
import { ShimError } from "../base/error.ts";
import { hasCode } from "../linux/errno.ts";

/** As many as the kernel follows (path_resolution(7)). */
const SYMLINK_LIMIT = 40;

/**
 * The path on the host of `path` as somebody chrooted into `root` would see it. `root` is absolute
 * and free of symlinks. What does not exist is kept as written. Throws ShimError `invalidArgument`
 * for a loop of symlinks.
 */
export function resolveInRoot(root: string, path: string): string {
  const pending = path.split("/");
  const resolved: string[] = [];
  let followed = 0;
  for (;;) {
    const name = pending.shift();
    if (name === undefined) return join(root, ...resolved);
    if (name === "" || name === ".") continue;
    if (name === "..") {
      resolved.pop();
      continue;
    }
    const target = linkTarget(join(root, ...resolved, name));
    if (target === undefined) {
      resolved.push(name);
      continue;
    }
    if (++followed > SYMLINK_LIMIT) {
      throw new ShimError("invalidArgument", `Too many symbolic links in ${path} below ${root}`);
    }
    if (target.startsWith("/")) resolved.length = 0;
    pending.unshift(...target.split("/"));
  }
}

/** Where a symlink points; undefined for anything else. */
function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (thrown) {
    if (hasCode(thrown, "EINVAL", "ENOENT", "ENOTDIR")) return undefined;
    throw thrown;
  }
}
