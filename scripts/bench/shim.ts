/** Any v2 shim, driven as containerd drives it: `start`, Task calls over ttrpc, `delete`. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { TaskDefinition as TaskDefinitionV2 } from "../../src/gen/containerd/task/v2/task.ts";
import { TaskDefinition as TaskDefinitionV3 } from "../../src/gen/containerd/task/v3/task.ts";
import { Options } from "../../src/gen/containerd/types/runc/options/oci.ts";
import { O_NONBLOCK, type OwnedFd, openFd } from "../../src/linux/fd.ts";
import { makeFifo } from "../../src/linux/fifo.ts";
import { openPidfd } from "../../src/linux/pidfd.ts";
import { waitUntilReady } from "../../src/linux/poll.ts";
import { connectBun } from "../../src/rpc/ttrpc/bun.ts";
import type { TtrpcClient } from "../../src/rpc/ttrpc/client.ts";
import { createStub, type Stub } from "../../src/rpc/ttrpc/stub.ts";
import type { Bundle } from "../../test/fake/bundle.ts";
import { type Bench, NAMESPACE } from "./bench-run.ts";
import { AWAKE, type Peer } from "./peer.ts";

const SCHEME = "unix://";
const OPTIONS_TYPE = "containerd.runc.v1.Options";
const SPEC_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process";
const MANAGER_ADDRESS = "/run/containerd/containerd.sock";
const END_LIMIT_MS = 10_000;
const SIGKILL = 9;

export type Task = Stub<typeof TaskDefinitionV2>;

/** Paths for Create and Exec; "" for what is not wanted. */
export interface Streams {
  readonly terminal: boolean;
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
}

export const NO_STREAMS: Streams = { terminal: false, stdin: "", stdout: "", stderr: "" };

/** Where a shim listens, and which version of the Task service it says to speak. */
export interface ShimAddress {
  readonly path: string;
  readonly version: number;
}

/** A connected shim with the container of one bundle. Disposing kills what is left of it. */
export class Shim implements Disposable {
  readonly peer: Peer;
  readonly id: string;
  readonly task: Task;
  readonly address: ShimAddress;
  readonly pid: number;
  readonly #bench: Bench;
  readonly #bundle: Bundle;
  readonly #client: TtrpcClient;

  constructor(options: {
    readonly bench: Bench;
    readonly peer: Peer;
    readonly bundle: Bundle;
    readonly address: ShimAddress;
    readonly client: TtrpcClient;
    readonly pid: number;
  }) {
    this.#bench = options.bench;
    this.#bundle = options.bundle;
    this.#client = options.client;
    this.peer = options.peer;
    this.id = options.bundle.id;
    this.address = options.address;
    this.pid = options.pid;
    this.task = taskOf(options.client, options.address);
  }

  /** Runs `start` and connects. */
  static async open(bench: Bench, peer: Peer, bundle: Bundle): Promise<Shim> {
    return await Shim.connect(bench, peer, bundle, await startShim(bench, peer, bundle));
  }

  static async connect(
    bench: Bench,
    peer: Peer,
    bundle: Bundle,
    address: ShimAddress,
  ): Promise<Shim> {
    const client = await connectBun({ unix: address.path });
    const { shimPid: pid } = await taskOf(client, address).connect({ id: bundle.id });
    return new Shim({ bench, peer, bundle, address, client, pid });
  }

  /** Runs `start`, Create and Start: a shim with a running container. */
  static async run(bench: Bench, peer: Peer, bundle: Bundle, streams = NO_STREAMS): Promise<Shim> {
    const shim = await Shim.open(bench, peer, bundle);
    await shim.create(streams);
    await shim.task.start({ id: shim.id, execId: "" });
    return shim;
  }

  async create(streams: Streams): Promise<void> {
    const { options, runtimeRoot: root } = this.#bench;
    const encoded = Options.encode({
      ...Options.decode(new Uint8Array(0)),
      binaryName: options.runtime,
      root,
    });
    await this.task.create({
      id: this.id,
      bundle: this.#bundle.path,
      rootfs: [],
      ...streams,
      checkpoint: "",
      parentCheckpoint: "",
      options: { typeUrl: OPTIONS_TYPE, value: encoded.finish() },
    });
  }

  /** Registers a process that runs `args` as the container's own would. */
  async exec(execId: string, args: readonly string[], streams = NO_STREAMS): Promise<void> {
    const value = new TextEncoder().encode(JSON.stringify(execProcess(args, streams.terminal)));
    const spec = { typeUrl: SPEC_TYPE, value };
    await this.task.exec({ id: this.id, execId, ...streams, spec });
  }

  /** Runs a process to its end and removes it. */
  async execToEnd(execId: string, args: readonly string[]): Promise<void> {
    const { id } = this;
    await this.exec(execId, args);
    await this.task.start({ id, execId });
    await this.task.wait({ id, execId });
    await this.task.delete({ id, execId });
  }

  /** Asks the shim to end and waits until it has closed the connection. */
  async shutdown(): Promise<void> {
    await this.task.shutdown({ id: this.id, now: false }).catch(() => undefined);
    await Promise.race([this.#client.closed, Bun.sleep(END_LIMIT_MS)]);
  }

  /** Kills the container, deletes it, and lets the shim end, unless it has other containers. */
  async end({ endsShim = true } = {}): Promise<void> {
    const { id, task } = this;
    await task.kill({ id, execId: "", signal: SIGKILL, all: false }).catch(() => undefined);
    await task.wait({ id, execId: "" });
    await task.delete({ id, execId: "" });
    if (endsShim) await this.shutdown();
    await this.runDelete();
  }

  /** The `delete` command: what containerd runs when a shim is gone. */
  async runDelete(): Promise<void> {
    const { code, text } = await runCommand(this.#bench, this.peer, this.#bundle, [
      ...["-bundle", this.#bundle.path, "delete"],
    ]);
    this.#client.close();
    if (code !== 0) throw new Error(`${this.peer.name} delete failed: ${text}`);
  }

  /** SIGKILLs the shim and waits until it is gone. */
  crash(): void {
    using pidfd = openPidfd(this.pid);
    process.kill(this.pid, "SIGKILL");
    if (pidfd !== undefined) waitUntilReady(pidfd.fd, "readable", END_LIMIT_MS);
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

/** Runs `start` in the bundle. */
export async function startShim(bench: Bench, peer: Peer, bundle: Bundle): Promise<ShimAddress> {
  const { code, text } = await runCommand(bench, peer, bundle, ["start"]);
  if (code !== 0) throw new Error(`${peer.name} start failed: ${text}`);
  if (!text.startsWith("{")) return { path: text.replace(SCHEME, "").trim(), version: 2 };
  const answer: { address: string; version: number } = JSON.parse(text);
  return { path: answer.address.replace(SCHEME, ""), version: answer.version };
}

async function runCommand(
  { cpu, events }: Bench,
  peer: Peer,
  bundle: Bundle,
  words: readonly string[],
): Promise<{ readonly code: number; readonly text: string }> {
  const child = cpu.within(peer, () =>
    Bun.spawn(
      [
        ...[peer.path, "-namespace", NAMESPACE, "-address", MANAGER_ADDRESS],
        ...["-publish-binary", "/bin/false", "-id", bundle.id, ...words],
      ],
      {
        cwd: bundle.path,
        stdio: ["ignore", "pipe", "inherit"],
        env: { PATH: process.env["PATH"], TTRPC_ADDRESS: events.address, ...(peer.env ?? AWAKE) },
      },
    ),
  );
  const text = await new Response(child.stdout).text();
  return { code: await child.exited, text };
}

function taskOf(client: TtrpcClient, { version }: ShimAddress): Task {
  return version >= 3 ? createStub(client, TaskDefinitionV3) : createStub(client, TaskDefinitionV2);
}

function execProcess(args: readonly string[], terminal: boolean): unknown {
  return {
    terminal,
    args,
    user: { uid: 0, gid: 0 },
    env: ["PATH=/bin:/sbin"],
    cwd: "/",
    noNewPrivileges: true,
  };
}

/** FIFOs for a process in its bundle, all held open by the caller until it disposes them. */
export class StreamFifos implements Disposable {
  readonly streams: Streams;
  readonly #held = new DisposableStack();

  constructor(bundle: Bundle, name: string, { stdin = false, terminal = false } = {}) {
    const folder = join(bundle.path, `fifo-${name}`);
    mkdirSync(folder, { recursive: true });
    const make = (stream: string) => {
      const path = join(folder, stream);
      makeFifo(path, 0o700);
      return path;
    };
    this.streams = {
      terminal,
      stdin: stdin ? make("stdin") : "",
      stdout: make("stdout"),
      stderr: terminal ? "" : make("stderr"),
    };
  }

  /** A descriptor of one of them, open until disposal. */
  open(stream: "stdin" | "stdout" | "stderr", flags: number): OwnedFd {
    return this.#held.use(openFd(this.streams[stream], flags));
  }

  /** As a client that reads both outputs. */
  openReaders(): void {
    for (const stream of ["stdout", "stderr"] as const) {
      if (this.streams[stream] !== "") this.open(stream, O_NONBLOCK);
    }
  }

  [Symbol.dispose](): void {
    this.#held.dispose();
  }
}
