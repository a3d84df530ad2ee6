/**
 * A private dockerd for tests, over a private containerd, with the `docker` command as its client.
 *
 * Both daemons live in one {@link Containerd} sandbox with a network of its own, so bridges and
 * addresses are nobody else's. Cgroups are below the sandbox's name. Each daemon can be ended and
 * started again over the same state.
 */

import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ContainerdVersion, DockerVersion } from "../../scripts/debian-programs.ts";
import type { Client, ClientOptions, Terminal, TerminalOptions } from "./client.ts";
import { type CallResult, Containerd, wedgeExecutable } from "./containerd.ts";
import { DaemonProcess, logTail } from "./daemon-process.ts";
import { busyboxRoot } from "./image.ts";
import { poll } from "./poll.ts";

/** The name of the image; its PATH is /bin, its command a shell. */
export const DOCKER_IMAGE = "busybox";
/** Below the sandbox's directory, as seen by `leaks.ts`. */
const EXEC_ROOT = "exec";
/** Not in any PATH: the runtime entry `by-path` names it. */
const ELSEWHERE = "elsewhere/containerd-shim-wedge-v2";

export interface DockerdOptions {
  readonly docker: DockerVersion;
  readonly containerd: ContainerdVersion;
  /** Our executable takes the stock shim's name. */
  readonly dropIn?: boolean;
  /** Containers outlive dockerd. */
  readonly liveRestore?: boolean;
  /** dockerd starts a containerd for itself, as in Docker's own image, and ends it when it ends in order. */
  readonly startsContainerd?: boolean;
}

/** What `docker inspect` says of a container, as far as tests look. */
export interface ContainerState {
  readonly Status: string;
  readonly Running: boolean;
  readonly Paused: boolean;
  readonly OOMKilled: boolean;
  readonly Pid: number;
  readonly ExitCode: number;
  readonly Error: string;
}

export class Dockerd implements AsyncDisposable {
  readonly containerd: Containerd;
  readonly version: DockerVersion;
  readonly #startsContainerd: boolean;
  #process: DaemonProcess | undefined;

  private constructor(containerd: Containerd, options: DockerdOptions) {
    this.containerd = containerd;
    this.version = options.docker;
    this.#startsContainerd = options.startsContainerd ?? false;
  }

  /** Starts both daemons with the test image loaded. The caller closes it. */
  static async start(options: DockerdOptions): Promise<Dockerd> {
    const containerd = await Containerd.start({
      version: options.containerd,
      dropIn: options.dropIn ?? false,
      ownNetwork: true,
    });
    const daemon = new Dockerd(containerd, options);
    try {
      if (daemon.#startsContainerd) await containerd.kill();
      daemon.#configure(options);
      await daemon.resume();
      const change = ["--change", "ENV PATH=/bin", "--change", 'CMD ["/bin/sh"]'];
      writeFileSync(containerd.outside("root.tar"), busyboxRoot());
      await daemon.docker("import", ...change, containerd.inside("root.tar"), DOCKER_IMAGE);
    } catch (error) {
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
    return daemon;
  }

  /** Where the runtime entry `with-options` has runc keep its state. */
  get optionsRoot(): string {
    return this.containerd.inside("runc-root");
  }

  /** Starts dockerd over the state that is there, and waits until it serves. */
  async resume(): Promise<void> {
    const program = join(this.version.tree, "usr/sbin/dockerd");
    this.#process = await DaemonProcess.start(this.containerd.sandbox, {
      argv: [program, "--config-file", this.containerd.inside("daemon.json")],
      env: this.#environment(),
      log: this.containerd.inside("dockerd.log"),
      served: "API listen on ",
    });
  }

  /** Starts what is down. */
  async ensureServing(): Promise<void> {
    if (!this.#startsContainerd) await this.containerd.ensureServing();
    if (this.#process === undefined) await this.resume();
  }

  /** Ends dockerd alone, and waits until it is gone: with SIGTERM it stops in order. */
  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    await this.#process?.end(signal);
    this.#process = undefined;
  }

  /** Starts a client. Await its end. */
  open(args: readonly string[], options: ClientOptions = {}): Client {
    return this.containerd.program(this.#client(args), options);
  }

  /** Starts a client on a terminal of its own. */
  terminal(args: readonly string[], options: TerminalOptions = {}): Terminal {
    return this.containerd.programTerminal(this.#client(args), options);
  }

  /** Runs a client to its end; any exit code is a result. */
  async call(args: readonly string[], options: ClientOptions = {}): Promise<CallResult> {
    return await this.open(args, options).finish();
  }

  /** Runs a client that must succeed. Returns its stdout without the last newline; throws with all it said otherwise. */
  async docker(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.call(args);
    if (code === 0) return stdout.replace(/\n$/, "");
    const said = `${stderr}${stdout}${this.tail()}`;
    throw new Error(`docker ${args.join(" ")}: exit code ${code}\n${said}`);
  }

  /** One value of `docker inspect`. */
  async inspect(container: string, format: string): Promise<string> {
    return await this.docker("inspect", "--format", format, container);
  }

  /** The state of a container, as dockerd knows it. */
  async state(container: string): Promise<ContainerState> {
    return JSON.parse(await this.inspect(container, "{{json .State}}"));
  }

  /** Waits until dockerd knows a container in this status: `running`, `paused`, `exited`, ... Returns all its state. */
  async waitForStatus(container: string, status: string): Promise<ContainerState> {
    let state = await this.state(container);
    const has = async () => {
      state = await this.state(container);
      return state.Status === status;
    };
    const detail = () => `\n${JSON.stringify(state)}${this.tail()}`;
    if (state.Status !== status) await poll(`${container} is ${status}`, has, { detail });
    return state;
  }

  /** The last lines of both daemons' logs, for messages. */
  tail(): string {
    return `${logTail(this.containerd.outside("dockerd.log"))}${this.containerd.tail()}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A dockerd that is stopped in order would stop its containers first, one by one.
    await this.end("SIGKILL");
    await this.containerd[Symbol.asyncDispose]();
  }

  #configure({ docker, liveRestore = false }: DockerdOptions): void {
    const { sandbox } = this.containerd;
    const inside = (name: string) => this.containerd.inside(name);
    const isOld = docker.series.startsWith("20.");
    const config = {
      ...(this.#startsContainerd ? {} : { containerd: inside("containerd.sock") }),
      "containerd-namespace": sandbox.name,
      "cgroup-parent": `/${sandbox.name}`,
      "data-root": inside("data"),
      "exec-root": inside(EXEC_ROOT),
      pidfile: inside("dockerd.pid"),
      hosts: [`unix://${inside("docker.sock")}`],
      "init-path": join(docker.tree, "usr/bin/docker-init"),
      "live-restore": liveRestore,
      // The network needs no rules: nothing leaves it.
      iptables: false,
      ip6tables: false,
      "userland-proxy": false,
      ...(isOld ? { "deprecated-key-path": inside("key.json") } : { runtimes: this.#runtimes() }),
    };
    writeFileSync(this.containerd.outside("daemon.json"), JSON.stringify(config));
    writeFileSync(this.containerd.outside("dockerd.log"), "");
  }

  /** The entries of daemon.json that make wedge a runtime by another name; 20.10 knows no such entries. */
  #runtimes(): object {
    const { containerd } = this;
    mkdirSync(containerd.outside("elsewhere"));
    symlinkSync(wedgeExecutable(), containerd.outside(ELSEWHERE));
    writeFileSync(containerd.outside("wedge.toml"), `Root = "${this.optionsRoot}"\n`);
    const runtimeType = "io.containerd.wedge.v2";
    return {
      named: { runtimeType },
      "by-path": { runtimeType: containerd.inside(ELSEWHERE) },
      "with-options": { runtimeType, options: { ConfigPath: containerd.inside("wedge.toml") } },
    };
  }

  #environment(): Record<string, string> {
    const environment = this.containerd.environment();
    const programs = ["usr/sbin", "usr/bin"].map((part) => join(this.version.tree, part));
    // Shims first, then the containerd that is to be started.
    const shims = this.containerd.inside("bin");
    const { directory } = this.containerd.version;
    const path = [...programs, shims, directory, environment["PATH"]].join(":");
    return { ...environment, PATH: path };
  }

  #client(args: readonly string[]): string[] {
    const host = `unix://${this.containerd.inside("docker.sock")}`;
    return [join(this.version.tree, "usr/bin/docker"), "--host", host, ...args];
  }
}
