/**
 * OCI bundles to run: a temporary directory with a busybox root filesystem and a `config.json` that
 * runc and crun both take, on cgroup v1 and v2. Every bundle has a root filesystem of its own, so
 * that a container may write to it.
 */

import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

const BUSYBOX = "/bin/busybox";

const CAPABILITIES = [
  "CAP_AUDIT_WRITE",
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_MKNOD",
  "CAP_NET_BIND_SERVICE",
  "CAP_NET_RAW",
  "CAP_SETFCAP",
  "CAP_SETGID",
  "CAP_SETPCAP",
  "CAP_SETUID",
  "CAP_SYS_CHROOT",
];

export interface BundleUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids?: readonly number[];
}

export interface BundleMount {
  readonly destination: string;
  readonly type?: string;
  readonly source?: string;
  readonly options?: readonly string[];
}

export interface BundleNamespace {
  readonly type: string;
  /** The namespace to join; a new one without it. */
  readonly path?: string;
}

export interface BundleRlimit {
  readonly type: string;
  readonly soft: number;
  readonly hard: number;
}

export interface BundleOptions {
  /** The container's id; also the name of the directory. Unique when left out. */
  readonly id?: string;
  /** The directory that holds the bundle; a new temporary one when left out. */
  readonly parent?: string;
  /** The command; `sh -c script` with `script`, and `true` with neither. */
  readonly args?: readonly string[];
  readonly script?: string;
  /** Added to PATH, HOME and TERM. */
  readonly env?: readonly string[];
  readonly cwd?: string;
  readonly terminal?: boolean;
  readonly consoleSize?: { readonly height: number; readonly width: number };
  readonly user?: BundleUser;
  readonly hostname?: string;
  /** Added to proc, /dev, /dev/pts, /dev/shm, /dev/mqueue, /sys, /tmp and /run. */
  readonly mounts?: readonly BundleMount[];
  /** In the place of new pid, mount, ipc, uts and network namespaces. */
  readonly namespaces?: readonly BundleNamespace[];
  /** Unique when left out. */
  readonly cgroupsPath?: string;
  /** `linux.resources`, as the OCI specification has it. */
  readonly resources?: Readonly<Record<string, unknown>>;
  readonly rlimits?: readonly BundleRlimit[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly capabilities?: readonly string[];
  readonly readonlyRootfs?: boolean;
  /** "empty" makes the directory alone, for a root filesystem that is mounted at create. */
  readonly rootfs?: "busybox" | "empty" | "missing";
  /** Merged over the finished config, at its top level: hooks, and whatever else is tried. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** A bundle on disk. Disposing unmounts what is mounted in it and removes it. */
export interface Bundle extends Disposable {
  readonly id: string;
  /** The bundle's directory, absolute, without symbolic links when the temporary directory has none. */
  readonly path: string;
  readonly rootfs: string;
  readonly cgroupsPath: string;
  readonly configPath: string;
  /** Replaces `config.json` by the one for the same options with `changes` over them. */
  rewrite(changes: BundleOptions): void;
}

/** Makes a bundle. The caller disposes it, after the container is gone. */
export function makeBundle(options: BundleOptions = {}): Bundle {
  const ownParent =
    options.parent === undefined ? mkdtempSync(join(tmpdir(), "wedge-")) : undefined;
  const parent = options.parent ?? ownParent ?? tmpdir();
  const id = options.id ?? `wedge-${crypto.randomUUID().slice(0, 13)}`;
  const path = join(parent, id);
  const rootfs = join(path, "rootfs");
  const configPath = join(path, "config.json");
  const cgroupsPath = options.cgroupsPath ?? `/${id}`;
  mkdirSync(path, { recursive: true, mode: 0o711 });
  // A container's user that is not root has to get through to its root filesystem.
  if (ownParent !== undefined) chmodSync(ownParent, 0o711);
  const kind = options.rootfs ?? "busybox";
  if (kind === "busybox") makeBusyboxRootfs(rootfs);
  if (kind === "empty") mkdirSync(rootfs, { mode: 0o755 });
  const write = (settled: BundleOptions) =>
    writeFileSync(configPath, JSON.stringify(configOf({ ...settled, cgroupsPath }), undefined, 2));
  write(options);
  return {
    id,
    path,
    rootfs,
    cgroupsPath,
    configPath,
    rewrite: (changes) => write({ ...options, ...changes }),
    [Symbol.dispose]: () => {
      unmountBelow(path);
      rmSync(ownParent ?? path, { recursive: true, force: true });
    },
  };
}

/**
 * The `config.json` (OCI runtime specification 1.0.2) for `options`, as a plain value.
 * `cgroupsPath` is left to the runtime when it is not given.
 */
export function configOf(options: BundleOptions): Readonly<Record<string, unknown>> {
  const capabilities = options.capabilities ?? CAPABILITIES;
  const args =
    options.args ?? (options.script === undefined ? ["true"] : ["sh", "-c", options.script]);
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: options.terminal ?? false,
      ...(options.consoleSize && { consoleSize: options.consoleSize }),
      user: options.user ?? { uid: 0, gid: 0 },
      args,
      env: [
        "PATH=/bin:/sbin:/usr/bin:/usr/sbin",
        "HOME=/root",
        "TERM=xterm",
        ...(options.env ?? []),
      ],
      cwd: options.cwd ?? "/",
      capabilities: {
        bounding: capabilities,
        effective: capabilities,
        permitted: capabilities,
      },
      rlimits: options.rlimits ?? [{ type: "RLIMIT_NOFILE", soft: 1024, hard: 1024 }],
      noNewPrivileges: true,
    },
    root: { path: "rootfs", readonly: options.readonlyRootfs ?? false },
    hostname: options.hostname ?? "wedge",
    mounts: [...standardMounts(), ...(options.mounts ?? [])],
    annotations: options.annotations ?? {},
    linux: {
      ...(options.cgroupsPath !== undefined && { cgroupsPath: options.cgroupsPath }),
      resources: options.resources ?? { devices: [{ allow: false, access: "rwm" }] },
      namespaces: options.namespaces ?? [
        { type: "pid" },
        { type: "mount" },
        { type: "ipc" },
        { type: "uts" },
        { type: "network" },
      ],
      maskedPaths: ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
      readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
    ...options.config,
  };
}

function standardMounts(): readonly BundleMount[] {
  const quiet = ["nosuid", "noexec", "nodev"];
  return [
    { destination: "/proc", type: "proc", source: "proc", options: quiet },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {
      destination: "/dev/shm",
      type: "tmpfs",
      source: "shm",
      options: [...quiet, "mode=1777", "size=65536k"],
    },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: quiet },
    { destination: "/sys", type: "sysfs", source: "sysfs", options: [...quiet, "ro"] },
    {
      destination: "/tmp",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "nodev", "mode=1777", "size=65536k"],
    },
    {
      destination: "/run",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
  ];
}

/**
 * Fills the directory `rootfs` with busybox, its applets as symbolic links, and users root and
 * `user` (1000). Needs the package busybox-static.
 */
export function makeBusyboxRootfs(rootfs: string): void {
  for (const folder of [
    "bin",
    "dev",
    "etc",
    "home",
    "home/user",
    "proc",
    "root",
    "run",
    "sys",
    "var",
  ]) {
    mkdirSync(join(rootfs, folder), { recursive: true, mode: 0o755 });
  }
  mkdirSync(join(rootfs, "tmp"));
  chmodSync(join(rootfs, "tmp"), 0o1777);
  chownSync(join(rootfs, "home/user"), 1000, 1000);
  symlinkSync("bin", join(rootfs, "sbin"));
  // A copy, not a link: a container that runs as root could write through a link to the host's.
  const busybox = join(rootfs, "bin/busybox");
  copyFileSync(BUSYBOX, busybox);
  chmodSync(busybox, 0o755);
  for (const applet of listApplets()) {
    if (applet !== "busybox") symlinkSync("busybox", join(rootfs, "bin", applet));
  }
  writeFileSync(
    join(rootfs, "etc/passwd"),
    "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n",
  );
  writeFileSync(join(rootfs, "etc/group"), "root:x:0:\ntty:x:5:\nuser:x:1000:\n");
}

let knownApplets: readonly string[] | undefined;

function listApplets(): readonly string[] {
  if (knownApplets !== undefined) return knownApplets;
  const listed = Bun.spawnSync([BUSYBOX, "--list"]);
  if (!listed.success) throw new Error(`Cannot list the applets of ${BUSYBOX}: ${listed.stderr}`);
  knownApplets = listed.stdout
    .toString()
    .trim()
    .split("\n")
    .map((name) => basename(name));
  return knownApplets;
}

/** Mount points at `folder` and below it, as this process sees them, deepest first. */
export function listMountsBelow(folder: string): readonly string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .map((point) =>
      point.replace(/\\(\d{3})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 8))),
    )
    .filter((point) => point === folder || point.startsWith(`${folder}/`))
    .reverse();
}

/** Unmounts everything at and below `folder`. Throws when something stays, so that nothing is removed through a mount. */
export function unmountBelow(folder: string): void {
  for (const point of listMountsBelow(folder)) Bun.spawnSync(["umount", "-l", point]);
  const left = listMountsBelow(folder);
  if (left.length > 0) throw new Error(`Cannot unmount: ${left.join(", ")}`);
}
