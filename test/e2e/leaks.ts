/** What is there before and after: processes, mounts, sockets, FIFOs, files, cgroups. */

import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Containerd } from "./containerd.ts";
import { poll } from "./poll.ts";

const SETTLE_LIMIT_MS = 15_000;

/** Lines such as `process 34 /bin/sh`, `mount /run/x`, `socket /run/y`, `cgroup /sys/fs/...`. */
export type Snapshot = ReadonlySet<string>;

/** Looks at everything that a shim, a runtime or a container could leave. */
export function snapshot(daemon: Containerd): Snapshot {
  const { sandbox } = daemon;
  const lines = new Set<string>();
  for (const [pid, commandLine] of sandbox.processes()) lines.add(`process ${pid} ${commandLine}`);
  for (const mount of sandbox.mounts()) lines.add(`mount ${mount}`);
  for (const cgroup of sandbox.cgroups()) lines.add(`cgroup ${cgroup}`);
  for (const line of files(daemon, "/run")) lines.add(line);
  // `exec` is dockerd's.
  for (const part of ["state", "tmp", "root/io.containerd.runtime.v2.task", "exec"]) {
    for (const line of files(daemon, daemon.inside(part))) lines.add(line);
  }
  return lines;
}

/**
 * Waits until nothing is left that was not in `before`. Throws an Error that lists what is.
 * A shim ends a little later than the call that ended its last container.
 */
export async function expectNothingLeft(
  daemon: Containerd,
  before: Snapshot,
  limitMs = SETTLE_LIMIT_MS,
): Promise<void> {
  let left: string[] = [];
  const clean = () => {
    left = [...snapshot(daemon)].filter((line) => !before.has(line) && !isExpected(daemon, line));
    return left.length === 0;
  };
  const detail = () => `, but ${left.length} things are left:\n  ${left.join("\n  ")}`;
  await poll("everything is cleaned up", clean, { limitMs, detail });
}

/** Directories that are made once for a namespace and stay, and the daemon itself. */
function isExpected(daemon: Containerd, line: string): boolean {
  const ns = daemon.namespace;
  // A daemon that was started anew has another pid.
  if (/^process \d+ \S*(containerd --config|dockerd --config-file) /.test(line)) return true;
  // A client of the test's own, which begins anew with each daemon.
  if (/^process \d+ \S*ctr .* events$/.test(line)) return true;
  // A dockerd that was killed leaves its own sockets, and any dockerd the mount points of namespaces for a while.
  if (line.startsWith(`socket ${daemon.inside("exec/libnetwork")}/`)) return true;
  if (line.startsWith(`file ${daemon.inside("exec/netns")}/`)) return true;
  const shared = [
    "/run/containerd",
    "/run/containerd/s",
    "/run/containerd/fifo",
    "/run/containerd/runc",
    `/run/containerd/runc/${ns}`,
    `/run/runc`,
    `/run/crun`,
    `/run/crun/${ns}`,
    "/run/netns",
    daemon.inside("state/io.containerd.sandbox.controller.v1.shim"),
    daemon.inside("state/io.containerd.grpc.v1.cri"),
    daemon.inside("state/io.containerd.grpc.v1.cri/containers"),
    daemon.inside("state/io.containerd.grpc.v1.cri/sandboxes"),
    daemon.inside("state/io.containerd.runtime.v2.task", ns),
    daemon.inside("root/io.containerd.runtime.v2.task", ns),
    // dockerd's, and those of a containerd that it has started.
    ...["netns", "containerd", "runtime-runc", `runtime-runc/${ns}`].map((part) =>
      daemon.inside("exec", part),
    ),
    daemon.inside("exec/containerd/daemon/io.containerd.runtime.v2.task", ns),
  ];
  return shared.some((path) => line === `directory ${path}`);
}

function files(daemon: Containerd, directory: string): string[] {
  const found: string[] = [];
  for (const name of namesIn(daemon.sandbox.path(directory))) {
    const inside = join(directory, name);
    const kind = kindOf(daemon.sandbox.path(inside));
    if (kind === undefined) continue;
    found.push(`${kind} ${inside}`);
    // A root file system is the container's; what it holds is no leftover of ours, its mount is.
    if (kind === "directory" && name !== "rootfs") found.push(...files(daemon, inside));
  }
  return found;
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function kindOf(path: string): string | undefined {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return undefined;
  if (stat.isDirectory()) return "directory";
  if (stat.isSocket()) return "socket";
  return stat.isFIFO() ? "fifo" : "file";
}
