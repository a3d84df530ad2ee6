/**
 * A private containerd for tests, with `ctr` as its client.
 *
 * It lives in a {@link Sandbox}: own root, state, address, configuration, `/run`. Its PATH begins with a
 * directory that holds our executable and the stock shim of its own release, so each test chooses
 * by runtime name. It can be killed and started again over the same state, as often as a test likes.
 */

import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import type { ContainerdVersion } from "../../scripts/debian-programs.ts";
import { sleepVariable } from "../sleep-variable.ts";
import { Client, type ClientOptions, Terminal, type TerminalOptions } from "./client.ts";
import {
  type CriOptions,
  daemonConfig,
  networkConfig,
  networkConfigPath,
} from "./daemon-config.ts";
import { DaemonProcess, logTail } from "./daemon-process.ts";
import { busyboxArchive } from "./image.ts";
import { poll } from "./poll.ts";
import { Sandbox } from "./sandbox.ts";

/** The image whose processes are root's. */
export const IMAGE = "localhost/wedge-busybox:latest";
/** The same with user and group 1000. */
export const USER_IMAGE = "localhost/wedge-busybox-user:latest";
/** What holds the namespaces of a pod. */
const PAUSE_IMAGE = "localhost/wedge-pause:latest";

const SHIM = "containerd-shim-wedge-v2";
const STOCK_SHIM = "containerd-shim-runc-v2";
const SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
export interface DaemonOptions {
  readonly version: ContainerdVersion;
  /** A copy of our executable takes the stock shim's name too. */
  readonly dropIn?: boolean;
  /** A mount point that the daemon and its containers are not to see. */
  readonly unmount?: string;
  /** A network of its own, with loopback alone. */
  readonly ownNetwork?: boolean;
  /** The program that runtimes find as `criu`. */
  readonly criu?: string;
  /** More variables of the daemon's environment, which shims inherit. */
  readonly variables?: Readonly<Record<string, string>>;
  /** With CRI, its plugins, and a network of its own. */
  readonly cri?: Omit<CriOptions, "pauseImage">;
}

/** What a client's call left. */
export interface CallResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The path of our executable. Throws an Error that says to build when it is missing. */
export function wedgeExecutable(): string {
  const path = process.env["WEDGE_SHIM"] ?? resolve(import.meta.dir, "../../dist", SHIM);
  if (!existsSync(path)) throw new Error(`No executable at ${path}: run "npm run build" first`);
  return path;
}

export class Containerd implements AsyncDisposable {
  readonly sandbox: Sandbox;
  readonly #options: DaemonOptions;
  readonly #clients = new Set<Client | Terminal>();
  #version: ContainerdVersion;
  #process: DaemonProcess | undefined;

  private constructor(sandbox: Sandbox, options: DaemonOptions) {
    this.sandbox = sandbox;
    this.#options = options;
    this.#version = options.version;
  }

  /** Starts a daemon with the test images loaded. The caller closes it. */
  static async start(options: DaemonOptions): Promise<Containerd> {
    const { unmount = "", cri, ownNetwork = cri !== undefined } = options;
    const sandbox = await Sandbox.open({ unmount, ownNetwork });
    const daemon = new Containerd(sandbox, options);
    try {
      daemon.#prepare();
      await daemon.resume();
      await daemon.#loadImages();
    } catch (error) {
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
    return daemon;
  }

  /** Which containerd runs, or ran last. */
  get version(): ContainerdVersion {
    return this.#version;
  }

  /** The containerd namespace that its clients use: CRI's own, or one whose cgroups have the sandbox's name. */
  get namespace(): string {
    return this.#options.cri === undefined ? this.sandbox.name : "k8s.io";
  }

  /** A path below the sandbox's directory, as the inside knows it. */
  inside(...parts: string[]): string {
    return join(this.sandbox.directory, ...parts);
  }

  /** The same place as seen from the outside. */
  outside(...parts: string[]): string {
    return this.sandbox.path(this.inside(...parts));
  }

  /** The bundle of a task, as seen from the outside. */
  bundle(id: string): string {
    return this.outside("state/io.containerd.runtime.v2.task", this.namespace, id);
  }

  /** Starts the daemon over the state that is there, and waits until it serves. */
  async resume(): Promise<void> {
    const program = join(this.version.directory, "containerd");
    this.#process = await DaemonProcess.start(this.sandbox, {
      argv: [program, "--config", this.inside("config.toml")],
      env: this.environment(),
      log: this.inside("containerd.log"),
      served: "containerd successfully booted",
    });
  }

  /** Starts the daemon if it is down. */
  async ensureServing(): Promise<void> {
    if (this.#process === undefined) await this.resume();
  }

  /** Puts another release in its place, over the same state. */
  async replace(version: ContainerdVersion): Promise<void> {
    await this.kill();
    this.#version = version;
    this.#configure();
    await this.resume();
  }

  /** SIGKILLs the daemon alone, and waits until it is gone. Shims and containers stay. */
  async kill(): Promise<void> {
    await this.#process?.end("SIGKILL");
    this.#process = undefined;
  }

  /** Stops the daemon where it is: connections are accepted by the kernel, and nobody answers. */
  freeze(): void {
    this.#process?.freeze();
  }

  /** Undoes {@link freeze}. */
  thaw(): void {
    this.#process?.thaw();
  }

  /** Starts a client. Close it, or await its end. */
  open(args: readonly string[], options: ClientOptions = {}): Client {
    const client = new Client(this.#ctr(args), this.environment(), options, () => this.tail());
    this.#clients.add(client);
    void client.exited.then(() => this.#clients.delete(client));
    return client;
  }

  /** Starts a client that prints events; returns it once it has printed one, so it misses none after. */
  async events(options: ClientOptions = {}): Promise<Client> {
    const client = this.open(["events"], options);
    await poll("events are printed", async () => {
      await this.ctr("images", "label", USER_IMAGE, `seen=${client.stdout.length}-${Date.now()}`);
      return client.stdout.includes("/images/update");
    });
    return client;
  }

  /** Starts another program of the system where the daemon lives. */
  program(argv: readonly string[], options: ClientOptions = {}): Client {
    const inside = this.sandbox.enter(argv);
    const client = new Client(inside, this.environment(), options, () => this.tail());
    this.#clients.add(client);
    void client.exited.then(() => this.#clients.delete(client));
    return client;
  }

  /** Starts a client on a terminal of its own. */
  terminal(args: readonly string[], options: TerminalOptions = {}): Terminal {
    return this.#terminal(this.#ctr(args), options);
  }

  /** The same for another program of the system. */
  programTerminal(argv: readonly string[], options: TerminalOptions = {}): Terminal {
    return this.#terminal(this.sandbox.enter(argv), options);
  }

  #terminal(argv: readonly string[], options: TerminalOptions): Terminal {
    const terminal = new Terminal(argv, this.environment(), options, () => this.tail());
    this.#clients.add(terminal);
    void terminal.exited.then(() => this.#clients.delete(terminal));
    return terminal;
  }

  /** Runs a client to its end; any exit code is a result. */
  async call(args: readonly string[], options: ClientOptions = {}): Promise<CallResult> {
    return await this.open(args, options).finish();
  }

  /** Runs a client that must succeed. Returns its stdout; throws with all it said otherwise. */
  async ctr(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.call(args);
    if (code === 0) return stdout;
    throw new Error(`ctr ${args.join(" ")}: exit code ${code}\n${stderr}${stdout}${this.tail()}`);
  }

  /** Removes a stopped task; returns its exit code, which `ctr` only says in a warning. */
  async removeTask(id: string): Promise<number> {
    const { code, stderr } = await this.call(["task", "rm", id]);
    if (code !== 0)
      throw new Error(`ctr task rm ${id}: exit code ${code}\n${stderr}${this.tail()}`);
    return Number(/non-zero exit code (\d+)/.exec(stderr)?.[1] ?? 0);
  }

  /** Removes the FIFOs that `ctr` itself leaves when its call fails, or when its task is lost. */
  async removeClientFifos(): Promise<void> {
    await Bun.$`rm -rf ${this.sandbox.path("/run/containerd/fifo")}`;
  }

  /** Removes all sockets of shims: for the stock shim, which leaves them when it is killed. */
  async removeShimSockets(): Promise<void> {
    await Bun.$`rm -rf ${this.sandbox.path("/run/containerd/s")}`;
  }

  /** The status that `ctr task ls` shows: RUNNING, PAUSED, STOPPED, ...; undefined without a task. */
  async status(id: string): Promise<string | undefined> {
    const lines = (await this.ctr("task", "ls")).split("\n").map((line) => line.split(/\s+/));
    return lines.find((columns) => columns[0] === id)?.[2];
  }

  /** Makes an empty file in a running task's root, without a client that the task's end could hit. */
  async touch(id: string, path: string): Promise<void> {
    const pid = await this.taskPid(id);
    if (pid === undefined) throw new Error(`Cannot make ${path}: there is no task ${id}`);
    writeFileSync(this.sandbox.path(`/proc/${pid}/root${path}`), "");
  }

  /** Waits until `ctr task ls` shows this status; undefined is "no task". */
  async waitForStatus(id: string, status: string | undefined): Promise<void> {
    const has = async () => (await this.status(id)) === status;
    await poll(`${id} is ${status}`, has, { detail: () => this.tail() });
  }

  /** The pid of a task in the numbers of the inside; undefined without a task. */
  async taskPid(id: string): Promise<number | undefined> {
    const lines = (await this.ctr("task", "ls")).split("\n").map((line) => line.split(/\s+/));
    const pid = lines.find((columns) => columns[0] === id)?.[1];
    return pid === undefined ? undefined : Number(pid);
  }

  /** Whether a process, in the numbers of the inside, is there and no zombie. */
  isAlive(pid: number): boolean {
    try {
      const stat = readFileSync(this.sandbox.path(`/proc/${pid}/stat`), "utf8");
      return !/\) [ZX] /.test(stat);
    } catch {
      return false;
    }
  }

  /** Sends SIGKILL to a process in the numbers of the inside, and waits until it is gone. */
  async killInside(pid: number): Promise<void> {
    const killer = Bun.spawn(this.sandbox.enter(["kill", "-9", String(pid)]));
    await killer.exited;
    await poll(`process ${pid} is gone`, () => !this.isAlive(pid));
  }

  /** The pids of shims, stock and ours, in the numbers of the inside. */
  shims(): number[] {
    return [...this.sandbox.processes()]
      .filter(
        ([, commandLine]) => / -id \S+/.test(commandLine) && !/ -publish-binary /.test(commandLine),
      )
      .map(([pid]) => pid);
  }

  /** What the daemon and its clients find in their environment. */
  environment(): Record<string, string> {
    return {
      PATH: `${this.inside("bin")}:${SYSTEM_PATH}`,
      // As its plugin `opt`, which is switched off for tests, sets it everywhere else.
      LD_LIBRARY_PATH: "/opt/containerd/lib:",
      HOME: this.inside("tmp"),
      TMPDIR: this.inside("tmp"),
      TERM: "xterm",
      ...sleepVariable(),
      ...this.#options.variables,
    };
  }

  /** The last lines of the daemon's log, for messages. */
  tail(): string {
    return `${logTail(this.outside("containerd.log"))}\n(containerd ${this.version.series})`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.kill("SIGKILL");
    await this.kill();
    await this.sandbox.close();
  }

  #prepare(): void {
    for (const name of ["bin", "tmp", "cni/net.d"]) {
      mkdirSync(this.outside(name), { recursive: true });
    }
    const ours = process.env["WEDGE_E2E_RUNTIMES"] === "runc" ? undefined : wedgeExecutable();
    if (ours !== undefined) symlinkSync(ours, this.outside("bin", SHIM));
    const { criu } = this.#options;
    if (criu !== undefined) symlinkSync(criu, this.outside("bin/criu"));
    writeFileSync(this.outside("containerd.log"), "");
    this.#configure();
  }

  /** Writes what depends on the release. */
  #configure(): void {
    const { dropIn = false, cri } = this.#options;
    const { series, directory } = this.#version;
    const stock = this.outside("bin", STOCK_SHIM);
    rmSync(stock, { force: true });
    // Copied, as whoever replaces the stock shim does; a link would lead back to our own name.
    if (dropIn) cpSync(wedgeExecutable(), stock);
    else symlinkSync(join(directory, STOCK_SHIM), stock);
    const config = daemonConfig({
      series,
      directory: this.inside(),
      cri: cri === undefined ? undefined : { ...cri, pauseImage: PAUSE_IMAGE },
    });
    writeFileSync(this.outside("config.toml"), config);
    const network = this.sandbox.path(networkConfigPath(this.inside()));
    if (cri !== undefined) writeFileSync(network, networkConfig(this.inside()));
  }

  #ctr(args: readonly string[]): string[] {
    const program = join(this.version.directory, "ctr");
    return this.sandbox.enter([
      program,
      "-a",
      this.inside("containerd.sock"),
      "-n",
      this.namespace,
      ...args,
    ]);
  }

  async #loadImages(): Promise<void> {
    const archive = busyboxArchive([
      { name: IMAGE },
      { name: USER_IMAGE, user: "1000:1000" },
      { name: PAUSE_IMAGE, command: ["/bin/sleep", "inf"] },
    ]);
    writeFileSync(this.outside("image.tar"), archive);
    await this.ctr("images", "import", this.inside("image.tar"));
  }
}

/** Copies our executable to where the inside sees it under another path. */
export function copyExecutable(daemon: Containerd, to: string): string {
  cpSync(wedgeExecutable(), daemon.outside(to));
  return daemon.inside(to);
}
