/** Pods and their containers as a kubelet handles them: the calls of CRI in their usual order. */

import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { type Containerd, IMAGE } from "../containerd.ts";
import { poll } from "../poll.ts";
import type {
  ContainerConfig,
  ContainerStatus,
  CriApi,
  NamespaceMode,
  PodConfig,
  PodStatus,
} from "./cri-api.ts";

export interface PodOptions {
  /** A `runtime_handler`; "" is the default one. */
  readonly handler: string;
  /** Which namespaces are not the pod's own: `NODE` is the host's, and `CONTAINER` each container's. */
  readonly namespaces?: Readonly<Partial<Record<"network" | "pid" | "ipc", NamespaceMode>>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface ContainerOptions {
  readonly command: readonly string[];
  readonly image?: string;
  readonly attempt?: number;
  readonly tty?: boolean;
  readonly stdin?: boolean;
  readonly memoryBytes?: number;
  readonly user?: number;
}

/** One line of a container's log file, as CRI lays it down. */
export interface LogLine {
  readonly stream: string;
  /** `F` ends a line, `P` is a part of one. */
  readonly tag: string;
  readonly text: string;
}

let count = 0;

export class Pod implements AsyncDisposable {
  readonly id: string;
  readonly config: PodConfig;
  readonly #api: CriApi;
  readonly #daemon: Containerd;
  readonly #containerIds: string[] = [];
  #isThere = true;

  private constructor(id: string, config: PodConfig, api: CriApi, daemon: Containerd) {
    this.id = id;
    this.config = config;
    this.#api = api;
    this.#daemon = daemon;
  }

  /** Runs the pod's sandbox; it is removed at the end of its scope. Its network is the host's unless told otherwise, as that needs no set-up. */
  static async run(
    api: CriApi,
    daemon: Containerd,
    { handler, namespaces = { network: "NODE" }, annotations = {} }: PodOptions,
  ): Promise<Pod> {
    count += 1;
    const name = `pod-${count}`;
    const logDirectory = daemon.inside("logs", name);
    mkdirSync(daemon.sandbox.path(logDirectory), { recursive: true });
    const config: PodConfig = {
      metadata: { name, uid: `uid-${name}`, namespace: "default" },
      logDirectory,
      annotations,
      linux: {
        cgroupParent: `/${daemon.sandbox.name}`,
        securityContext: { namespaceOptions: { pid: "CONTAINER", ...namespaces } },
      },
    };
    const { podSandboxId } = await api.call("RunPodSandbox", { config, runtimeHandler: handler });
    return new Pod(podSandboxId, config, api, daemon);
  }

  async status(): Promise<PodStatus> {
    const answer = await this.#api.call("PodSandboxStatus", { podSandboxId: this.id });
    return answer.status;
  }

  /** Creates a container and does not start it. */
  async create(options: ContainerOptions): Promise<PodContainer> {
    count += 1;
    const { command, image = IMAGE, attempt = 0, memoryBytes, user, tty, stdin } = options;
    const name = `container-${count}`;
    const config: ContainerConfig = {
      metadata: { name, attempt },
      image: { image },
      command,
      logPath: `${name}-${attempt}.log`,
      ...(tty === undefined ? {} : { tty }),
      ...(stdin === undefined ? {} : { stdin }),
      linux: {
        resources: memoryBytes === undefined ? {} : { memoryLimitInBytes: memoryBytes },
        securityContext: {
          namespaceOptions: this.config.linux.securityContext.namespaceOptions,
          ...(user === undefined ? {} : { runAsUser: { value: user } }),
        },
      },
    };
    const { containerId } = await this.#api.call("CreateContainer", {
      podSandboxId: this.id,
      config,
      sandboxConfig: this.config,
    });
    this.#containerIds.push(containerId);
    return new PodContainer(containerId, this.#api, this.#daemon);
  }

  /** Creates a container and starts it. */
  async start(options: ContainerOptions): Promise<PodContainer> {
    const container = await this.create(options);
    await container.start();
    return container;
  }

  /** The pids, inside, of the shims that were started for it or for its containers. */
  shims(): number[] {
    const ids = [this.id, ...this.#containerIds];
    const lines = [...this.#daemon.sandbox.processes()];
    return lines
      .filter(
        ([, line]) => /containerd-shim-\S+ /.test(line) && ids.some((id) => line.includes(id)),
      )
      .map(([pid]) => pid);
  }

  /** Stops and removes the pod with all its containers. */
  async remove(): Promise<void> {
    await this.#api.call("StopPodSandbox", { podSandboxId: this.id });
    await this.#api.call("RemovePodSandbox", { podSandboxId: this.id });
    this.#isThere = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isThere) await this.remove();
  }
}

export class PodContainer {
  readonly id: string;
  readonly #api: CriApi;
  readonly #daemon: Containerd;

  constructor(id: string, api: CriApi, daemon: Containerd) {
    this.id = id;
    this.#api = api;
    this.#daemon = daemon;
  }

  async start(): Promise<void> {
    await this.#api.call("StartContainer", { containerId: this.id });
  }

  /** Runs a command to its end, `timeout` seconds at most. */
  async exec(
    cmd: readonly string[],
    timeout = 0,
  ): Promise<{ stdout: string; stderr: string; exitCode: number }> {
    const { stdout, stderr, exitCode } = await this.#api.call("ExecSync", {
      containerId: this.id,
      cmd,
      timeout,
    });
    return { stdout: stdout.toString(), stderr: stderr.toString(), exitCode };
  }

  async status(): Promise<ContainerStatus> {
    const answer = await this.#api.call("ContainerStatus", { containerId: this.id });
    return answer.status;
  }

  /** Waits until CRI knows that it has ended. */
  async ended(): Promise<ContainerStatus> {
    let status = await this.status();
    const hasEnded = async () => {
      status = await this.status();
      return status.state === "CONTAINER_EXITED";
    };
    await poll(`${this.id} has ended`, hasEnded, { detail: () => this.#daemon.tail() });
    return status;
  }

  /** What its log file holds so far. Throws when a line is not in CRI's form. */
  async log(): Promise<LogLine[]> {
    const path = this.#daemon.sandbox.path((await this.status()).logPath);
    if (!existsSync(path)) return [];
    const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
    return lines.map((line) => {
      const match = /^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP]) (.*)$/.exec(
        line,
      );
      if (match === null) throw new Error(`No line of a CRI log: ${line}`);
      return { stream: match[1] ?? "", tag: match[2] ?? "", text: match[3] ?? "" };
    });
  }

  /** Waits until its log has a line with this text. */
  async logged(text: string): Promise<void> {
    const has = async () => (await this.log()).some((line) => line.text === text);
    await poll(`"${text}" is in the log`, has, { detail: () => this.#daemon.tail() });
  }

  /** Asks it to end, and kills it after `grace` seconds. */
  async stop(grace: number): Promise<void> {
    await this.#api.call("StopContainer", { containerId: this.id, timeout: grace });
  }

  async remove(): Promise<void> {
    await this.#api.call("RemoveContainer", { containerId: this.id });
  }
}
