/**
 * Every shim on this host, found through the kernel: processes, their sockets, their bundles. No manager
 * is asked and no shim is called, so one that hangs or sleeps is shown like any other.
 */

import { readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { readMountInfo } from "../../linux/mount.ts";
import { parseLink } from "../../linux/program.ts";
import { type BundleFacts, listBundles, readBundle } from "./bundle-facts.ts";
import { recognize, type ShimKind } from "./executable-kind.ts";
import { type HostProcess, listProcesses, readLink } from "./process-table.ts";
import { listUnixSockets, type UnixSocket } from "./unix-sockets.ts";

const EXECUTABLE_PREFIX = "containerd-shim";
/** Words on a shim's command line that mean that it is not a daemon. */
const ACTIONS: ReadonlySet<string> = new Set(["start", "delete"]);
/** The end of the directory in which every manager's containerd keeps bundles. */
const STATE_IN_PATH = /^.*?\/io\.containerd\.runtime\.v2\.task(?=\/)/;
/** Where managers keep bundles unless told otherwise. */
const USUAL_STATES = [
  "/run/containerd/io.containerd.runtime.v2.task",
  "/run/docker/containerd/daemon/io.containerd.runtime.v2.task",
  "/run/k3s/containerd/io.containerd.runtime.v2.task",
];

/** A running shim. */
export interface HostShim {
  readonly process: HostProcess;
  readonly kind: ShimKind;
  /** It runs the small program that keeps its descriptors while there is nothing to do. */
  readonly isAsleep: boolean;
  readonly namespace: string;
  /** Of the task that it was started for. */
  readonly id: string;
  /** Identifies its view of the file system. */
  readonly mountNamespace: string;
  /** Prefix for its paths, if its view of the file system is not ours; or "". */
  readonly root: string;
  /** As the shim names it; undefined if it listens nowhere that can be seen. */
  readonly socket: string | undefined;
  /** Connected clients: usually a manager. */
  readonly connections: number;
  /** Its working directory; undefined when it has been removed. */
  readonly bundle: string | undefined;
  /** Of all its containers. */
  readonly bundles: readonly BundleFacts[];
}

/** Everything found. */
export interface Host {
  readonly processes: ReadonlyMap<number, HostProcess>;
  readonly shims: readonly HostShim[];
  /** Managers' bundles whose shim does not run. */
  readonly strayBundles: readonly BundleFacts[];
}

/** Looks at the whole host. Never throws for what ends meanwhile. */
export function findShims(): Host {
  const processes = listProcesses();
  const ownSockets = listUnixSockets();
  const ownNamespace = readLink("/proc/self/ns/mnt") ?? "";
  const candidates = [...processes.values()].flatMap((process) => {
    const identity = identify(process);
    return identity === undefined ? [] : [{ process, ...identity }];
  });
  const partial = candidates.map((candidate) => locate(candidate, ownNamespace, ownSockets));
  const bundles = new BundleIndex(partial, ownNamespace);
  const shims = partial
    .map((shim) => ({ ...shim, bundles: bundles.of(shim) }))
    .sort((a, b) => a.process.startedAtMs - b.process.startedAtMs);
  return { processes, shims, strayBundles: bundles.strays(shims) };
}

interface Identity {
  readonly namespace: string;
  readonly id: string;
}

/** The namespace and the id that a shim's daemon has on its command line; undefined for anything else. */
function identify({ pid, args, state }: HostProcess): Identity | undefined {
  if (state === "Z" || args.some((word) => ACTIONS.has(word))) return undefined;
  const namespace = flagOf(args, "namespace");
  const id = flagOf(args, "id");
  if (namespace === undefined || id === undefined) return undefined;
  return isShimName(args[0]) || isShimName(readLink(`/proc/${pid}/exe`))
    ? { namespace, id }
    : undefined;
}

/** Whether a shim is called so, by its command line or its file: a replaced one is called by a /proc link. */
function isShimName(path = ""): boolean {
  return basename(path).startsWith(EXECUTABLE_PREFIX);
}

/** The gRPC sockets of the managers that started shims, by paths that we can reach; each once. */
export function managersOf({ shims }: Host): readonly string[] {
  const addresses = shims.map(({ process: { args }, root }) => {
    const address = flagOf(args, "address") ?? "";
    return address === "" ? "" : root + address;
  });
  return [...new Set(addresses.filter((address) => address !== ""))];
}

/** The value of a flag in Go's syntax. */
function flagOf(args: readonly string[], wanted: string): string | undefined {
  for (const [index, word] of args.entries()) {
    const flag = word.replace(/^--?/, "");
    if (flag === word) continue;
    if (flag === wanted) return args[index + 1];
    if (flag.startsWith(`${wanted}=`)) return flag.slice(wanted.length + 1);
  }
  return undefined;
}

type Located = Omit<HostShim, "bundles">;

function locate(
  { process, namespace, id }: Identity & { readonly process: HostProcess },
  ownNamespace: string,
  ownSockets: ReadonlyMap<string, UnixSocket>,
): Located {
  const { pid } = process;
  const folder = `/proc/${pid}`;
  const mountNamespace = readLink(`${folder}/ns/mnt`) ?? ownNamespace;
  const root = mountNamespace === ownNamespace ? "" : `${folder}/root`;
  const link = readLink(`${folder}/cwd`);
  const directory = link === undefined ? undefined : parseLink(link);
  const bundle = directory?.isDeleted ? undefined : directory?.path;
  const facts = bundle === undefined ? undefined : readBundle(bundle, root);
  let socket = findSocket(pid, facts?.socket, ownSockets);
  // Another network namespace has sockets of its own.
  socket ??= findSocket(pid, facts?.socket, listUnixSockets(pid));
  const executable = readLink(`${folder}/exe`) ?? process.args[0] ?? "";
  const { kind, isAsleep } = recognize(`${folder}/exe`, parseLink(executable).path);
  const connections = socket?.connections ?? 0;
  return {
    process,
    kind,
    isAsleep,
    namespace,
    id,
    mountNamespace,
    root,
    socket: socket?.path,
    connections,
    bundle,
  };
}

/** By the path in its bundle, or else by its open descriptors. */
function findSocket(
  pid: number,
  path: string | undefined,
  sockets: ReadonlyMap<string, UnixSocket>,
): UnixSocket | undefined {
  const known = path === undefined ? undefined : sockets.get(path);
  if (known?.inode !== undefined) return known;
  const inodes = socketInodes(pid);
  return [...sockets.values()].find(({ inode }) => inode !== undefined && inodes.has(inode));
}

function socketInodes(pid: number): ReadonlySet<number> {
  const folder = `/proc/${pid}/fd`;
  try {
    return new Set(
      readdirSync(folder).flatMap((name) => {
        const inode = /^socket:\[(\d+)\]$/.exec(readLink(join(folder, name)) ?? "")?.[1];
        return inode === undefined ? [] : [Number(inode)];
      }),
    );
  } catch {
    return new Set(); // Ended, or another user's.
  }
}

/** All bundles of the managers that the shims belong to, by the socket that each names. */
class BundleIndex {
  readonly #bundles: readonly { readonly mountNamespace: string; readonly facts: BundleFacts }[];

  constructor(shims: readonly Located[], ownNamespace: string) {
    const own = { mountNamespace: ownNamespace, root: "" };
    // Mounted root filesystems reveal managers whose shims are all gone.
    const states = [...USUAL_STATES, ...statesOf(readMountInfo())];
    const places = new Map(states.map((state) => [`${ownNamespace} ${state}`, { ...own, state }]));
    for (const { bundle, id, namespace, root, mountNamespace } of shims) {
      if (bundle === undefined) continue;
      const state = dirname(dirname(bundle));
      if (isManaged({ bundle, id, namespace }))
        places.set(`${mountNamespace} ${state}`, { mountNamespace, root, state });
    }
    this.#bundles = [...places.values()].flatMap(({ mountNamespace, root, state }) =>
      listBundles(state, root).flatMap((path) => {
        const facts = readBundle(path, root);
        return facts === undefined ? [] : [{ mountNamespace, facts }];
      }),
    );
  }

  /** Those that name its socket, and the one in which it runs. */
  of(shim: Located): readonly BundleFacts[] {
    const own = this.#bundles
      .filter(
        ({ mountNamespace, facts }) => mountNamespace === shim.mountNamespace && isOf(facts, shim),
      )
      .map(({ facts }) => facts);
    if (own.length > 0 || shim.bundle === undefined) return own;
    // Not a manager's directory: the names are those that the shim was started with.
    const found = readBundle(shim.bundle, shim.root);
    return found === undefined
      ? []
      : [{ ...found, id: shim.id, namespace: shim.namespace, isManaged: isManaged(shim) }];
  }

  strays(shims: readonly HostShim[]): readonly BundleFacts[] {
    const served = new Set(shims.flatMap(({ bundles }) => bundles));
    return this.#bundles.map(({ facts }) => facts).filter((facts) => !served.has(facts));
  }
}

/** The bundle directories with mounts in them, each once. */
function statesOf(mounts: readonly { readonly mountPoint: string }[]): readonly string[] {
  const states = mounts.flatMap(({ mountPoint }) => STATE_IN_PATH.exec(mountPoint)?.[0] ?? []);
  return [...new Set(states)];
}

/** Managers keep bundles as STATE/NAMESPACE/ID. */
function isManaged({
  bundle,
  id,
  namespace,
}: Pick<Located, "bundle" | "id" | "namespace">): boolean {
  return bundle?.endsWith(`/${namespace}/${id}`) ?? false;
}

function isOf(facts: BundleFacts, shim: Located): boolean {
  if (shim.socket !== undefined && facts.socket !== undefined) return facts.socket === shim.socket;
  return facts.path === shim.bundle;
}
