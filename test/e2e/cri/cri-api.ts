/** Kubernetes' runtime interface as the kubelet speaks it: gRPC over containerd's own socket. */

import { join } from "node:path";
import { Client, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { loadSync, type MethodDefinition } from "@grpc/proto-loader";
import { poll } from "../poll.ts";

/** For a call whose end the test does not wait for by itself. Milliseconds. */
const CALL_LIMIT_MS = 60_000;

export type NamespaceMode = "POD" | "CONTAINER" | "NODE";

export interface PodConfig {
  readonly metadata: { readonly name: string; readonly uid: string; readonly namespace: string };
  readonly hostname?: string;
  readonly logDirectory: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly linux: {
    readonly cgroupParent: string;
    readonly securityContext: {
      readonly namespaceOptions: Readonly<
        Partial<Record<"network" | "pid" | "ipc", NamespaceMode>>
      >;
    };
  };
}

export interface Resources {
  readonly cpuPeriod?: number;
  readonly cpuQuota?: number;
  readonly cpuShares?: number;
  readonly memoryLimitInBytes?: number;
}

export interface ContainerConfig {
  readonly metadata: { readonly name: string; readonly attempt: number };
  readonly image: { readonly image: string };
  readonly command: readonly string[];
  readonly logPath: string;
  readonly mounts?: readonly {
    readonly containerPath: string;
    readonly hostPath: string;
    readonly readonly?: boolean;
  }[];
  readonly stdin?: boolean;
  readonly stdinOnce?: boolean;
  readonly tty?: boolean;
  readonly linux: {
    readonly resources?: Resources;
    readonly securityContext?: {
      readonly namespaceOptions?: PodConfig["linux"]["securityContext"]["namespaceOptions"];
      readonly runAsUser?: { readonly value: number };
    };
  };
}

export interface PodStatus {
  readonly state: "SANDBOX_READY" | "SANDBOX_NOTREADY";
  readonly network: { readonly ip: string } | null;
  readonly runtimeHandler: string;
}

export interface ContainerStatus {
  readonly state:
    | "CONTAINER_CREATED"
    | "CONTAINER_RUNNING"
    | "CONTAINER_EXITED"
    | "CONTAINER_UNKNOWN";
  readonly exitCode: number;
  readonly reason: string;
  readonly logPath: string;
}

interface Figure {
  readonly value: number;
}

export interface ContainerStats {
  readonly attributes: { readonly id: string };
  readonly cpu: { readonly usageCoreNanoSeconds: Figure };
  readonly memory: { readonly workingSetBytes: Figure };
}

interface PodId {
  readonly podSandboxId: string;
}

interface ContainerId {
  readonly containerId: string;
}

interface Streams {
  readonly tty?: boolean;
  readonly stdin?: boolean;
  readonly stdout?: boolean;
  readonly stderr?: boolean;
}

/** Each method with what it takes and what it gives; cri.proto has the same on the wire. */
interface Methods {
  Status: [
    object,
    {
      status: { conditions: { type: string; status: boolean; message: string }[] };
      runtimeHandlers: { name: string; features: object | null }[];
    },
  ];
  RunPodSandbox: [{ config: PodConfig; runtimeHandler: string }, PodId];
  StopPodSandbox: [PodId, object];
  RemovePodSandbox: [PodId, object];
  PodSandboxStatus: [PodId, { status: PodStatus }];
  ListPodSandbox: [object, { items: { id: string }[] }];
  CreateContainer: [PodId & { config: ContainerConfig; sandboxConfig: PodConfig }, ContainerId];
  StartContainer: [ContainerId, object];
  StopContainer: [ContainerId & { timeout: number }, object];
  RemoveContainer: [ContainerId, object];
  ContainerStatus: [ContainerId, { status: ContainerStatus }];
  UpdateContainerResources: [ContainerId & { linux: Resources }, object];
  ReopenContainerLog: [ContainerId, object];
  ExecSync: [
    ContainerId & { cmd: readonly string[]; timeout?: number },
    { stdout: Buffer; stderr: Buffer; exitCode: number },
  ];
  Exec: [ContainerId & Streams & { cmd: readonly string[] }, { url: string }];
  Attach: [ContainerId & Streams, { url: string }];
  PortForward: [PodId & { port: readonly number[] }, { url: string }];
  ContainerStats: [ContainerId, { stats: ContainerStats }];
  ListContainerStats: [object, { stats: ContainerStats[] }];
  PodSandboxStats: [PodId, { stats: { linux: { process: { processCount: Figure } } } }];
}

/** A connection to one daemon's CRI. */
export class CriApi implements Disposable {
  readonly #client: Client;
  readonly #methods: ReadonlyMap<string, MethodDefinition<object, object>>;

  /** `socket` as the test sees it. */
  constructor(socket: string) {
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure());
    const service = loadSync(join(import.meta.dir, "cri.proto"), {
      longs: Number,
      enums: String,
      defaults: true,
    })["runtime.v1.RuntimeService"];
    this.#methods = new Map(Object.entries(isService(service) ? service : {}));
  }

  /** Calls a method. Rejects with gRPC's ServiceError, whose `code` tells the kind. */
  async call<Name extends keyof Methods>(
    name: Name,
    request: Methods[Name][0],
  ): Promise<Methods[Name][1]> {
    const method = this.#methods.get(name);
    if (method === undefined) throw new Error(`cri.proto has no method ${name}`);
    return await new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        // What this method gives is stated in two places: cri.proto and the table above.
        (bytes) => method.responseDeserialize(bytes) as Methods[Name][1],
        request,
        new Metadata({ waitForReady: true }),
        { deadline: Date.now() + CALL_LIMIT_MS },
        (error, answer) => {
          if (error === null && answer !== undefined) resolve(answer);
          else reject(error ?? new Error(`${name} was answered with nothing`));
        },
      );
    });
  }

  /** Waits until CRI serves: containerd says that it has booted a little earlier. */
  async ready(): Promise<void> {
    const isServing = async () => (await refusal(this.call("Status", {}))) === undefined;
    await poll("CRI serves", isServing);
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

/** The name of the code that a call was refused with; undefined when it was not refused. */
export async function refusal(call: Promise<unknown>): Promise<string | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    return isServiceError(error) ? status[error.code] : String(error);
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && typeof error.code === "number";
}

function isService(value: unknown): value is Record<string, MethodDefinition<object, object>> {
  return typeof value === "object" && value !== null;
}
