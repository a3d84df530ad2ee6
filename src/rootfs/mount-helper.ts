/** User-space file systems: a helper program mounts them (mount.fuse(8)). */

import { accessSync, constants, readFileSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { ShimError } from "../base/error.ts";
import { openMemoryFile } from "../linux/fd.ts";
import { topMountAt } from "../linux/mount.ts";
import { SIGKILL } from "../linux/signals.ts";
import type { RootfsMount } from "./mount-option.ts";
import { type ComponentPlace, recordMount } from "./mount-place.ts";

/** Helper programs for user-space file systems, by the prefix of the type. */
const FUSE_HELPERS: ReadonlyMap<string, string> = new Map([
  ["fuse.", "mount.fuse"],
  ["fuse3.", "mount.fuse3"],
]);
/** Searched after those of PATH, which need not have where root's programs are. */
const SYSTEM_DIRECTORIES = [
  "/usr/local/sbin",
  "/usr/local/bin",
  "/usr/sbin",
  "/usr/bin",
  "/sbin",
  "/bin",
];
const PATH = "PATH=";
const HELPER_LIMIT_MS = 30_000;
const HELPER_OUTPUT_CHARACTERS = 1000;

/** The helper that mounts `type`, and its own name for the type; undefined where the kernel mounts. */
export function helperFor(
  type: string,
): { readonly name: string; readonly subtype: string } | undefined {
  for (const [prefix, name] of FUSE_HELPERS) {
    if (type.startsWith(prefix)) return { name, subtype: type.slice(prefix.length) };
  }
  return undefined;
}

/**
 * Runs the helper and waits until it has mounted; past a limit of 30 s it is killed.
 *
 * Throws ShimError: `failedPrecondition` when it is not installed, `unknown` with what it said.
 */
export async function mountWithHelper(
  helperName: { readonly name: string; readonly subtype: string },
  component: RootfsMount,
  place: ComponentPlace,
): Promise<void> {
  const { name, subtype } = helperName;
  const { target, children, environment } = place;
  const directories = searchPath(environment);
  const program = directories.map((directory) => join(directory, name)).find(isExecutable);
  if (program === undefined) {
    throw new ShimError(
      "failedPrecondition",
      `Mount helper ${name} is in none of ${directories.join(", ")}: install it (package fuse or fuse3)`,
    );
  }
  const options = component.options.flatMap((option) => ["-o", option]);
  const before = topMountAt(target)?.id;
  // A file, not a pipe: a daemon that keeps it and writes later must not die of SIGPIPE.
  using output = openMemoryFile(name);
  const helper = children.spawn({
    argv: [program, component.source, target, ...options, "-t", subtype],
    // It starts the file system's own program by name.
    env: [...environment.filter(isNotPath), PATH + directories.join(":")],
    cwd: "/",
    stdio: [undefined, output.fd, output.fd],
    leads: "session",
  });
  const timer = setTimeout(() => helper.signal(SIGKILL), HELPER_LIMIT_MS);
  const { status } = await helper.exited;
  clearTimeout(timer);
  if (topMountAt(target)?.id !== before) recordMount(place);
  if (status === 0) return;
  const said = readFileSync(`/proc/self/fd/${output.fd}`, "utf8").trim();
  throw new ShimError(
    "unknown",
    `Mount helper ${program} ended with status ${status}: ${said.slice(0, HELPER_OUTPUT_CHARACTERS)}`,
  );
}

/** The directories of PATH in `environment` that are absolute, then the system's. */
function searchPath(environment: readonly string[]): readonly string[] {
  const path = environment.findLast((entry) => !isNotPath(entry))?.slice(PATH.length) ?? "";
  return [...new Set([...path.split(":").filter(isAbsolute), ...SYSTEM_DIRECTORIES])];
}

function isNotPath(entry: string): boolean {
  return !entry.startsWith(PATH);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
