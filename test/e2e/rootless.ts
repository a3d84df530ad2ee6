/**
 * A containerd of an unprivileged user, in a user and a mount namespace that rootlesskit makes, all of
 * it in a {@link Sandbox}: the user, his ids and his `/run/user` exist nowhere else.
 *
 * `/run/containerd/s` is read-only to him, so a shim has to find another place for its socket.
 */

import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ContainerdVersion } from "../../scripts/debian-programs.ts";
import { sleepVariable } from "../sleep-variable.ts";
import { Client, type ClientOptions, type ClientResult, Terminal } from "./client.ts";
import { IMAGE, wedgeExecutable } from "./containerd.ts";
import { busyboxArchive } from "./image.ts";
import { poll } from "./poll.ts";
import { Sandbox } from "./sandbox.ts";

const PROGRAMS = ["rootlesskit", "newuidmap", "newgidmap", "setpriv"];
const UID = 1000;
const START_LIMIT_MS = 60_000;
const SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const CGROUP_ROOT = "/sys/fs/cgroup";
/** Ids that rootlesskit maps, where nobody else has any. */
const SUBORDINATE = "wedge:100000:65536\n";

/** Why it cannot be had here; undefined where it can. */
export function rootlessObstacle(): string | undefined {
  const missing = PROGRAMS.filter((name) => Bun.which(name, { PATH: SYSTEM_PATH }) === null);
  if (missing.length > 0) return `${missing.join(", ")} not installed: run npm run setup`;
  const limit = "/proc/sys/user/max_user_namespaces";
  if (existsSync(limit) && Number(readFileSync(limit, "utf8")) === 0) return "no user namespaces";
  return undefined;
}

/** `$1` the directory: makes the user known, as root. */
const PREPARE = `
set -e
mkdir -p -m 0755 "$1/etc" && mkdir -m 0700 -p "$1/home" /run/user/${UID}
(grep -v ":${UID}:" /etc/passwd; echo "wedge:x:${UID}:${UID}::$1/home:/bin/sh") >"$1/etc/passwd"
(grep -v ":${UID}:" /etc/group; echo "wedge:x:${UID}:") >"$1/etc/group"
printf "$2" >"$1/etc/subuid"; cp "$1/etc/subuid" "$1/etc/subgid"
mount -t tmpfs -o mode=0755 wedge-e2e /mnt && cp -a /etc/. /mnt/ && cp "$1"/etc/* /mnt/
mount --move /mnt /etc
chown -R ${UID}:${UID} "$1/home" /run/user/${UID}`;

/** `$1` the directory, `$2` containerd: what root of the user namespace runs. */
const DAEMON = `
set -e
rm -f /run/containerd
mkdir -p /run/containerd/s
mount -t tmpfs -o ro wedge-e2e /run/containerd/s
echo $$ >"$1/home/pid"
exec "$2" --config "$1/config.toml"`;

export class Rootless implements AsyncDisposable {
  readonly sandbox: Sandbox;
  readonly #version: ContainerdVersion;
  #daemon: Bun.Subprocess | undefined;
  #pid = 0;

  private constructor(sandbox: Sandbox, version: ContainerdVersion) {
    this.sandbox = sandbox;
    this.#version = version;
  }

  /** Starts it with the test image loaded. The caller closes it. */
  static async start(version: ContainerdVersion): Promise<Rootless> {
    const rootless = new Rootless(await Sandbox.open(), version);
    try {
      await rootless.#prepare();
      await rootless.#run();
      await rootless.ctr("images", "import", rootless.#inside("image.tar"));
    } catch (error) {
      await rootless[Symbol.asyncDispose]();
      throw error;
    }
    return rootless;
  }

  /** A cgroup in every hierarchy of version 1 that belongs to the user, by its path from the root. */
  delegateCgroup(): string {
    const { name } = this.sandbox;
    const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
    const points = mounts
      .filter((line) => line.includes(" - cgroup "))
      .map((line) => line.split(" ")[4] ?? "");
    for (const point of points) {
      mkdirSync(join(point, name));
      Bun.spawnSync(["chown", "-R", `${UID}:${UID}`, join(point, name)]);
    }
    return `/${name}`;
  }

  /** A file of the user namespace, as seen from the outside. */
  path(inside: string): string {
    return this.sandbox.path(`/proc/${this.#pid}/root${inside}`);
  }

  /** The bundle of a task, as seen from the outside. */
  bundle(id: string): string {
    const state = `/run/user/${UID}/containerd-state/io.containerd.runtime.v2.task/default`;
    return this.path(join(state, id));
  }

  get pid(): number {
    return this.#pid;
  }

  /** The pids of shims, in the numbers of the sandbox. */
  shims(): number[] {
    return [...this.sandbox.processes()]
      .filter(([, line]) => / -id \S+/.test(line) && !line.includes(" -publish-binary "))
      .map(([pid]) => pid);
  }

  /** Starts a client in the namespaces of the daemon. */
  open(args: readonly string[], options: ClientOptions = {}): Client {
    return new Client(this.#client(args), this.#environment(), options, () => this.#log());
  }

  /** Starts a client on a terminal of its own. */
  terminal(args: readonly string[]): Terminal {
    return new Terminal(this.#client(args), this.#environment(), {}, () => this.#log());
  }

  /** Runs a client to its end; any exit code is a result. */
  async call(args: readonly string[], options: ClientOptions = {}): Promise<ClientResult> {
    return await this.open(args, options).finish();
  }

  /** Runs a client that must succeed; returns its stdout. */
  async ctr(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.call(args);
    if (code === 0) return stdout;
    throw new Error(`ctr ${args.join(" ")}: exit code ${code}\n${stderr}${stdout}${this.#log()}`);
  }

  /** The arguments of `ctr run`; without a cgroup unless the flags name one. */
  run(id: string, flags: readonly string[], command: readonly string[]): string[] {
    const cgroup = flags.includes("--cgroup") ? [] : ["--cgroup", "", "--cpu-shares", "0"];
    const head = ["run", "--runtime", "io.containerd.wedge.v2", ...cgroup];
    return [...head, ...flags, IMAGE, id, ...command];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // First the shims' own end of the pid namespace: the sandbox kills whatever is left in it.
    await this.sandbox.close();
    await this.#daemon?.exited;
  }

  async #prepare(): Promise<void> {
    const { sandbox } = this;
    const argv = sandbox.enter(["sh", "-c", PREPARE, "sh", sandbox.directory, SUBORDINATE]);
    const prepared = Bun.spawnSync(argv, { stderr: "pipe" });
    if (!prepared.success) throw new Error(`Cannot make a user: ${prepared.stderr}`);
    const outside = (name: string) => sandbox.path(this.#inside(name));
    mkdirSync(outside("bin"));
    cpSync(wedgeExecutable(), outside("bin/containerd-shim-wedge-v2"));
    writeFileSync(outside("image.tar"), busyboxArchive([{ name: IMAGE }]));
    writeFileSync(outside("containerd.log"), "");
    writeFileSync(
      outside("config.toml"),
      `version = 2\nroot = "${this.#inside("home/root")}"\n` +
        `state = "/run/user/${UID}/containerd-state"\n` +
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n' +
        `[grpc]\naddress = "${this.#address()}"\n`,
    );
  }

  async #run(): Promise<void> {
    const { sandbox } = this;
    const log = Bun.file(sandbox.path(this.#inside("containerd.log")));
    const containerd = join(this.#version.directory, "containerd");
    this.#daemon = Bun.spawn(
      sandbox.enter([
        ...["setpriv", "--reuid", String(UID), "--regid", String(UID), "--clear-groups"],
        ...["rootlesskit", "--net=host", "--copy-up=/run", "--state-dir", this.#inside("home/kit")],
        ...["sh", "-c", DAEMON, "sh", sandbox.directory, containerd],
      ]),
      { stdin: "ignore", stdout: log, stderr: log, env: this.#environment() },
    );
    const served = () => this.#log().includes("containerd successfully booted");
    const detail = () => this.#log();
    await poll("containerd of the user serves", served, { limitMs: START_LIMIT_MS, detail });
    this.#pid = Number(readFileSync(sandbox.path(this.#inside("home/pid")), "utf8"));
  }

  #client(args: readonly string[]): string[] {
    const enter = ["nsenter", "-t", String(this.#pid), "-U", "-m", "--"];
    const ctr = [join(this.#version.directory, "ctr"), "-a", this.#address()];
    return this.sandbox.enter([...enter, ...ctr, ...args]);
  }

  #environment(): Record<string, string> {
    return {
      PATH: `${this.#inside("bin")}:${SYSTEM_PATH}`,
      HOME: this.#inside("home"),
      USER: "wedge",
      XDG_RUNTIME_DIR: `/run/user/${UID}`,
      TERM: "xterm",
      ...sleepVariable(),
    };
  }

  #address(): string {
    return `/run/user/${UID}/containerd.sock`;
  }

  #inside(name: string): string {
    return join(this.sandbox.directory, name);
  }

  #log(): string {
    return readFileSync(this.sandbox.path(this.#inside("containerd.log")), "utf8");
  }
}

/** Whether cgroups can be delegated to a user as they are on this machine. */
export const hasCgroupV1 = existsSync(join(CGROUP_ROOT, "memory/cgroup.event_control"));
