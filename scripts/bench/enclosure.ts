/**
 * Where the benchmark runs: mount and pid namespaces of its own, with a fresh `/run`.
 *
 * Everything that a peer starts ends with it, however it ends, and shims' sockets and state are in
 * memory, as on a host. Debian 12's crun refuses a hybrid cgroup layout, so for it the second
 * hierarchy is hidden.
 */

import { existsSync, readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import type { RuntimeName } from "./options.ts";

const CGROUP_ROOT = "/sys/fs/cgroup";
const HYBRID = join(CGROUP_ROOT, "unified");
const INSIDE = "WEDGE_BENCH_CGROUP";
const REMOVE_LIMIT_MS = 10_000;
/** `$1` is a path to unmount or nothing, the rest the command. It stays, to reap orphans. */
const FIRST_PROCESS = `
set -e
mount -t tmpfs -o mode=0755 wedge-bench /run
[ -z "$1" ] || umount "$1"
shift
set +e
"$@"
exit $?`;

/** The name of the cgroup that holds everything measured, inside the enclosure; otherwise undefined. */
export function enclosedCgroup(): string | undefined {
  return process.env[INSIDE];
}

/** Runs this program again inside an enclosure, and cleans up after it. Returns its exit code. */
export async function enclose(args: readonly string[], runtime: RuntimeName): Promise<number> {
  const cgroup = `wedge-bench-${process.pid}`;
  const hidden = runtime === "crun" && existsSync(HYBRID) ? HYBRID : "";
  const main = process.argv[1] ?? "";
  const child = Bun.spawn(
    [
      ...["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"],
      ...["--mount-proc", "--", "sh", "-c", FIRST_PROCESS, "wedge-bench", hidden],
      ...[process.execPath, main, ...args],
    ],
    { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, [INSIDE]: cgroup } },
  );
  const stop = () => child.kill("SIGKILL");
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, stop);
  const code = await child.exited;
  await removeCgroups(cgroup);
  return code;
}

/** Removes the cgroups of that name in every hierarchy, as soon as the last process has left them. */
async function removeCgroups(name: string): Promise<void> {
  const roots = [CGROUP_ROOT, ...readdirSync(CGROUP_ROOT).map((own) => join(CGROUP_ROOT, own))];
  const tops = roots.map((root) => join(root, name)).filter((path) => existsSync(path));
  const deadline = Date.now() + REMOVE_LIMIT_MS;
  while (!tops.map(removeTree).every(Boolean) && Date.now() < deadline) await Bun.sleep(20);
}

function removeTree(directory: string): boolean {
  if (!existsSync(directory)) return true;
  const below = readdirSync(directory, { withFileTypes: true }).filter((one) => one.isDirectory());
  const isEmpty = below.map((one) => removeTree(join(directory, one.name))).every(Boolean);
  try {
    if (isEmpty) rmdirSync(directory);
    return isEmpty;
  } catch {
    return false; // Still busy.
  }
}
