/** Leftovers of shims and containers that are gone, and shims that have lost theirs. */

import { readdirSync, statfsSync } from "node:fs";
import { dirname, join } from "node:path";
import { SOCKET_PATH_BYTES } from "../../linux/listener.ts";
import { readMountInfo } from "../../linux/mount.ts";
import type { MountInfo } from "../../linux/mountinfo.ts";
import type { Host, HostShim } from "../host/shims.ts";
import { listUnixSockets } from "../host/unix-sockets.ts";
import { broken, type Finding, note, ok } from "./finding.ts";

/** Where shims listen unless told otherwise. */
const SOCKET_FOLDER = "/run/containerd/s";
const STATE_FOLDER = "/io.containerd.runtime.v2.task/";
const DIGEST_CHARACTERS = 64;
const NAMED_MAX = 5;
const MIB = 1024 * 1024;
const FREE_MIB_MIN = 16;
/** A shim that is being started or has just lost its last container is not a finding. */
const GRACE_MS = 60_000;
/** f_type of tmpfs (statfs(2)). */
const TMPFS_MAGIC = 0x01021994;

/** All findings about leftovers. */
export function checkLeftovers(host: Host): readonly Finding[] {
  const managed = host.shims.filter(({ root }) => root === "");
  return [
    checkSockets(managed),
    checkSocketLength(host.shims),
    checkStrayBundles(host),
    checkLostBundles(host.shims, Date.now()),
    checkMounts(readMountInfo(), managed),
    checkSpace(),
  ];
}

function checkSockets(shims: readonly HostShim[]): Finding {
  const check = "leftover-sockets";
  const listening = listUnixSockets();
  const folders = new Set([
    SOCKET_FOLDER,
    ...shims.flatMap(({ socket }) => (socket === undefined ? [] : [dirname(socket)])),
  ]);
  const dead = [...folders]
    .flatMap((folder) => listSockets(folder))
    .filter((path) => listening.get(path)?.inode === undefined);
  if (dead.length === 0) return ok(check, "every socket of a shim has its shim");
  return note(
    check,
    `${dead.length} sockets on which nobody listens: ${named(dead)}`,
    "remove them with rm",
  );
}

function listSockets(folder: string): readonly string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isSocket())
      .map(({ name }) => join(folder, name));
  } catch {
    return []; // No shim was ever here.
  }
}

/** Pure. */
export function checkSocketLength(shims: readonly Pick<HostShim, "socket" | "id">[]): Finding {
  const check = "socket-length";
  const folders = new Set([
    SOCKET_FOLDER,
    ...shims.flatMap(({ socket }) => (socket === undefined ? [] : [dirname(socket)])),
  ]);
  const long = [...folders].filter(
    (folder) => folder.length + 1 + DIGEST_CHARACTERS > SOCKET_PATH_BYTES,
  );
  if (long.length === 0) return ok(check, "paths of sockets are short enough");
  const max = SOCKET_PATH_BYTES - DIGEST_CHARACTERS - 1;
  return broken(
    check,
    `sockets in ${named(long)} have paths longer than ${SOCKET_PATH_BYTES} bytes`,
    `give containerd a socket directory of at most ${max} characters`,
  );
}

function checkStrayBundles({ strayBundles, processes }: Host): Finding {
  const check = "bundles-without-shim";
  if (strayBundles.length === 0) return ok(check, "every bundle has its shim");
  const alive = strayBundles.filter(
    ({ initPid, exit }) => exit === undefined && initPid !== undefined && processes.has(initPid),
  );
  const names = named(strayBundles.map(({ namespace, id }) => `${namespace}/${id}`));
  const message = `${strayBundles.length} bundles whose shim does not run: ${names}`;
  if (alive.length > 0) {
    const pids = alive.map(({ initPid }) => initPid).join(", ");
    return broken(
      check,
      `${message}; their processes may still run: ${pids}`,
      "restart containerd, which cleans up after dead shims; or delete the tasks with its client",
    );
  }
  return broken(
    check,
    message,
    "restart containerd, which cleans up after dead shims; or delete the tasks with its client",
  );
}

/** Pure. */
export function checkLostBundles(
  shims: readonly Pick<HostShim, "id" | "namespace" | "bundles" | "process" | "connections">[],
  nowMs: number,
): Finding {
  const check = "shims-without-bundle";
  const lost = shims.filter(
    ({ bundles, process }) => bundles.length === 0 && nowMs - process.startedAtMs > GRACE_MS,
  );
  if (lost.length === 0) return ok(check, "every shim has its bundle");
  const names = lost.map(
    ({ namespace, id, process }) => `${namespace}/${id} (process ${process.pid})`,
  );
  return broken(
    check,
    `${lost.length} shims whose bundle is gone: ${named(names)}`,
    "nobody will end them: look with shim inspect, then send them SIGTERM, which does not kill containers",
  );
}

/** Pure. */
export function checkMounts(
  mounts: readonly Pick<MountInfo, "mountPoint">[],
  shims: readonly Pick<HostShim, "bundles">[],
): Finding {
  const check = "leftover-mounts";
  const served = new Set(shims.flatMap(({ bundles }) => bundles.map(({ path }) => path)));
  const left = mounts
    .map(({ mountPoint }) => mountPoint)
    .filter((path) => {
      const bundle = bundleOf(path);
      return bundle !== undefined && !served.has(bundle);
    });
  if (left.length === 0) return ok(check, "every mounted root filesystem has its shim");
  return broken(
    check,
    `${left.length} mounts of containers that are gone: ${named(left)}`,
    "unmount them with umount, before anything removes files below them",
  );
}

/** The bundle that a mount is in: STATE/io.containerd.runtime.v2.task/NAMESPACE/ID/rootfs. */
function bundleOf(path: string): string | undefined {
  const start = path.indexOf(STATE_FOLDER);
  if (start < 0) return undefined;
  const [namespace, id] = path.slice(start + STATE_FOLDER.length).split("/");
  if (namespace === undefined || id === undefined) return undefined;
  return `${path.slice(0, start)}${STATE_FOLDER}${namespace}/${id}`;
}

/** Runtimes keep their state in /run; without room there nothing can be started, stopped or recorded. */
function checkSpace(): Finding {
  const check = "space";
  const { bavail, bsize, ffree, files, type } = statfsSync("/run");
  const freeMib = Math.floor((bavail * bsize) / MIB);
  const kind = type === TMPFS_MAGIC ? "a tmpfs" : "no tmpfs";
  if (freeMib >= FREE_MIB_MIN && (files === 0 || ffree > 0)) {
    return ok(check, `/run, ${kind}, has ${freeMib} MiB left`);
  }
  return broken(
    check,
    `/run has only ${freeMib} MiB and ${ffree} files left`,
    "find what fills it: du -xsh /run/*",
  );
}

function named(names: readonly string[]): string {
  const more = names.length - NAMED_MAX;
  return names.slice(0, NAMED_MAX).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
