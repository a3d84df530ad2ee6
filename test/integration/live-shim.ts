/** A shim of the compiled executable with a real runtime, driven over ttrpc, and a manager that takes its events. */

import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  utimesSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StdioPaths } from "../../src/container/stdio-paths.ts";
import {
  EventsDefinition,
  type ForwardRequest,
} from "../../src/gen/containerd/services/events/ttrpc/v1/events.ts";
import type { CreateTaskRequest } from "../../src/gen/containerd/task/v2/task.ts";
import { TaskDefinition } from "../../src/gen/containerd/task/v3/task.ts";
import { Options } from "../../src/gen/containerd/types/runc/options/oci.ts";
import { HandoffDefinition } from "../../src/gen/wedge/handoff/v1/handoff.ts";
import { O_NONBLOCK, O_WRONLY, type OwnedFd, openFd, writeFd } from "../../src/linux/fd.ts";
import { makeFifo } from "../../src/linux/fifo.ts";
import { mountService } from "../../src/rpc/service.ts";
import { connectBun, listenBun } from "../../src/rpc/ttrpc/bun.ts";
import type { TtrpcClient } from "../../src/rpc/ttrpc/client.ts";
import { TtrpcServer } from "../../src/rpc/ttrpc/server.ts";
import { createStub, type Stub } from "../../src/rpc/ttrpc/stub.ts";
import { executable } from "../compiled.ts";
import { type Bundle, type BundleOptions, makeBundle } from "../fake/bundle.ts";
import { sleepVariable } from "../sleep-variable.ts";

/** The numbers of poll(2), or of what libc calls in its place, by processor; the event loop has others. */
const POLL: Readonly<Record<string, string>> = { x64: "7", arm64: "73" };
const SLEEPER = "/memfd:wedge-sleeper";
const NAMESPACE = "live";
const WAIT_MS = 60_000;

/** Looks again and again, for a bounded time. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`Not in time: ${what}`);
    await Bun.sleep(5);
  }
}

export interface TakenEvent {
  readonly topic: string;
  readonly value: Uint8Array;
}

export interface LiveShimOptions {
  readonly executable?: string;
  /** Seconds of quiet before it sleeps; never without this. */
  readonly sleepAfterSeconds?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Where a process's streams go; "" is nowhere. */
export type StreamPaths = Partial<StdioPaths>;

interface Socket {
  readonly path: string;
  readonly client: TtrpcClient;
}

/** One shim, with a directory of its own for everything. */
export class LiveShim implements AsyncDisposable {
  readonly pid: number;
  readonly task: Stub<typeof TaskDefinition>;
  readonly handoff: Stub<typeof HandoffDefinition>;
  /** What the manager has taken, in order. */
  readonly events: readonly TakenEvent[];
  readonly #path: string;
  readonly #socket: Socket;
  readonly #owned: AsyncDisposableStack;

  private constructor(
    at: { readonly path: string; readonly pid: number; readonly events: readonly TakenEvent[] },
    socket: Socket,
    owned: AsyncDisposableStack,
  ) {
    this.#path = at.path;
    this.pid = at.pid;
    this.events = at.events;
    this.#socket = socket;
    this.#owned = owned;
    this.task = createStub(socket.client, TaskDefinition);
    this.handoff = createStub(socket.client, HandoffDefinition);
  }

  static async start(options: LiveShimOptions = {}): Promise<LiveShim> {
    await using undo = new AsyncDisposableStack();
    const path = mkdtempSync(join(tmpdir(), "wedge-live-"));
    chmodSync(path, 0o711);
    undo.defer(() => rmSync(path, { recursive: true, force: true }));
    undo.defer(() => deleteContainers(join(path, "runc", NAMESPACE)));
    const events: TakenEvent[] = [];
    const server = serveEvents(join(path, "events.sock"), events);
    undo.defer(() => server.close());
    const socket = await spawnShim(path, options);
    undo.defer(() => rmSync(socket, { force: true }));
    const client = await connectBun({ unix: socket });
    undo.defer(() => client.close());
    const { shimPid: pid } = await createStub(client, TaskDefinition).connect({ id: "first" });
    undo.defer(() => endShim(pid));
    return new LiveShim({ path, pid, events }, { path: socket, client }, undo.move());
  }

  /** Another connection, which ends with the shim. */
  async connect(): Promise<TtrpcClient> {
    return this.#owned.use(await connectBun({ unix: this.#socket.path }));
  }

  /** The directory of everything. */
  get path(): string {
    return this.#path;
  }

  /** A bundle in this shim's directory. */
  bundle(options: BundleOptions = {}): Bundle {
    return makeBundle({ ...options, parent: this.#path });
  }

  /** Create with the shim's own runtime root. */
  async create(
    bundle: Bundle,
    io: StreamPaths = {},
    options: Partial<Options> = {},
  ): Promise<number> {
    return (await this.task.create(this.createRequest(bundle, io, options))).pid;
  }

  /** What {@link create} asks for. */
  createRequest(
    bundle: Bundle,
    io: StreamPaths = {},
    options: Partial<Options> = {},
  ): CreateTaskRequest {
    const value = Options.encode({
      ...Options.decode(new Uint8Array(0)),
      ...{ root: join(this.#path, "runc"), ...options },
    }).finish();
    return {
      ...{ id: bundle.id, bundle: bundle.path, rootfs: [] },
      ...{ terminal: false, stdin: "", stdout: "", stderr: "", ...io },
      ...{ checkpoint: "", parentCheckpoint: "" },
      options: { typeUrl: "containerd.runc.v1.Options", value },
    };
  }

  /** Registers and starts an exec; returns its pid. */
  async exec(...words: Parameters<LiveShim["addExec"]>): Promise<number> {
    await this.addExec(...words);
    const [id, execId] = words;
    return (await this.task.start({ id, execId })).pid;
  }

  /** Registers an exec. */
  async addExec(
    id: string,
    execId: string,
    args: readonly string[],
    io: StreamPaths = {},
  ): Promise<void> {
    const process = { args, cwd: "/", env: ["PATH=/bin"], user: { uid: 0, gid: 0 } };
    await this.task.exec({
      ...{ id, execId, spec: { typeUrl: "", value: Buffer.from(JSON.stringify(process)) } },
      ...{ terminal: false, stdin: "", stdout: "", stderr: "", ...io },
    });
  }

  /** Kills and deletes a container. */
  async remove(id: string): Promise<void> {
    await this.task.kill({ id, execId: "", signal: 9, all: false }).catch(() => {});
    await this.task.wait({ id, execId: "" });
    await this.task.delete({ id, execId: "" });
  }

  /** Whether it waits below its event loop. */
  get isDozing(): boolean {
    const [call, , count] = readFileSync(`/proc/${this.pid}/syscall`, "utf8").split(" ");
    return call === POLL[process.arch] && count === "0x1";
  }

  get isAsleep(): boolean {
    try {
      if (!readlinkSync(`/proc/${this.pid}/exe`).startsWith(SLEEPER)) return false;
      // The command line comes last when a program begins.
      return readFileSync(`/proc/${this.pid}/cmdline`, "utf8") !== "";
    } catch {
      return false;
    }
  }

  get isAlive(): boolean {
    return isAlive(this.pid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/** Takes away what a shim that was ended has left to its runtime. */
async function deleteContainers(root: string): Promise<void> {
  for (const id of existsSync(root) ? readdirSync(root) : []) {
    await Bun.spawn(["runc", "--root", root, "delete", "--force", id], {
      stdio: ["ignore", "ignore", "ignore"],
    }).exited;
  }
}

function serveEvents(path: string, events: TakenEvent[]): TtrpcServer {
  const forward = ({ envelope }: ForwardRequest) => {
    const { topic = "", event } = envelope ?? {};
    events.push({ topic, value: event?.value ?? new Uint8Array(0) });
    return {};
  };
  const server = new TtrpcServer({ services: [mountService(EventsDefinition, { forward })] });
  listenBun(server, { unix: path });
  // A manager that has been there for long: one that has just come back is given time (`event/publisher.ts`).
  utimesSync(path, 0, 0);
  return server;
}

/** Runs `start` in an empty bundle; returns the socket's path. */
async function spawnShim(path: string, options: LiveShimOptions): Promise<string> {
  const bundle = join(path, "first");
  mkdirSync(bundle);
  await Bun.write(join(bundle, "config.json"), "{}");
  const address = ["-address", join(path, "c.sock")];
  const child = Bun.spawn(
    [
      options.executable ?? executable,
      "-namespace",
      NAMESPACE,
      "-id",
      "first",
      ...address,
      "start",
    ],
    {
      cwd: bundle,
      env: {
        PATH: process.env["PATH"],
        TTRPC_ADDRESS: join(path, "events.sock"),
        WEDGE_SLEEP_AFTER_SECONDS: "0",
        ...sleepVariable(),
        ...(options.sleepAfterSeconds !== undefined && {
          WEDGE_SLEEP_AFTER_SECONDS: String(options.sleepAfterSeconds),
        }),
        ...options.env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const text =
    (await new Response(child.stdout).text()) + (await new Response(child.stderr).text());
  const socket = /unix:\/\/(\/\S+?[0-9a-f]{64})/.exec(text)?.[1];
  if (socket === undefined) throw new Error(`No address in ${text}`);
  return socket;
}

async function endShim(pid: number): Promise<void> {
  for (const child of childrenOf(pid)) kill(child);
  kill(pid);
  await until("the shim has ended", () => !isAlive(pid));
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

function childrenOf(pid: number): readonly number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
      .split(" ")
      .filter((word) => word !== "")
      .map(Number);
  } catch {
    return [];
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended meanwhile.
  }
}

/** A FIFO in the shim's directory, of root as containerd makes them. */
export function fifo(shim: LiveShim, name: string): string {
  const path = join(shim.path, name);
  makeFifo(path, 0o700);
  return path;
}

/** Reads a FIFO to its end into a buffer, by a process of its own. */
export function drain(path: string): { readonly text: Promise<string> } {
  const reader = Bun.spawn(["cat", path], { stdio: ["ignore", "pipe", "ignore"] });
  return { text: new Response(reader.stdout).text() };
}

/** Writes to a FIFO that a shim reads, opened as a client does. */
export class FifoWriter implements Disposable {
  readonly #fd: OwnedFd;

  constructor(path: string) {
    this.#fd = openFd(path, O_WRONLY | O_NONBLOCK);
  }

  /** All of `text`, however long the reader takes. */
  async write(text: string): Promise<void> {
    let bytes: Uint8Array = Buffer.from(text);
    while (bytes.length > 0) {
      const written = writeFd(this.#fd.fd, bytes);
      if (written === "again") await Bun.sleep(2);
      else bytes = bytes.subarray(written);
    }
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}

/** Descriptors that a process keeps, by number, with what they are of. */
export function descriptorsOf(pid: number): ReadonlyMap<number, string> {
  const folder = `/proc/${pid}/fd`;
  const kept = new Map<number, string>();
  for (const name of readdirSync(folder)) {
    try {
      const target = readlinkSync(join(folder, name));
      // A busy shim looks at its memory at any time, and has this open for a tenth of a millisecond.
      if (!target.endsWith("/smaps_rollup")) kept.set(Number(name), target);
    } catch {
      // Closed meanwhile.
    }
  }
  return kept;
}
