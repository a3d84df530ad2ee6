/** Runs the shim's short commands from source, as containerd would, and finds the daemons they leave. */

import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sleepVariable } from "../sleep-variable.ts";

const MAIN = join(import.meta.dir, "../../src/main.ts");
const WAIT_MS = 30_000;

export interface Run {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: Uint8Array;
  /** The executable; the source by default. */
  readonly program?: readonly string[];
}

/** Runs to the end of the process and of both its streams: a daemon that held one would hang this. */
export async function runShim(args: readonly string[], options: RunOptions): Promise<Run> {
  const child = Bun.spawn([...(options.program ?? [process.execPath, MAIN]), ...args], {
    cwd: options.cwd,
    env: {
      PATH: process.env["PATH"],
      HOME: process.env["HOME"],
      ...sleepVariable(),
      ...options.env,
    },
    stdin: options.stdin ?? "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).arrayBuffer(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { exitCode, stdout: Buffer.from(stdout), stderr };
}

/** Pids of the daemons in `namespace`, which a test makes its own. */
export function daemonsOf(namespace: string): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      const words = readOr(`/proc/${pid}/cmdline`, "").split("\0");
      const at = words.indexOf("-namespace");
      return at > 0 && words[at + 1] === namespace && !words.includes("start");
    })
    .map(Number);
}

/** What the descriptors of a process refer to. */
export function openedBy(pid: number): readonly string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return []; // Closed meanwhile.
    }
  });
}

/** Kills every daemon in `namespace` and waits until none is left. */
export async function killDaemons(namespace: string): Promise<void> {
  const pids = daemonsOf(namespace);
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }
  // The command line of a dying process is gone before its descriptors are.
  await until(() => pids.every((pid) => !/\) [^ZX]/.test(readOr(`/proc/${pid}/stat`, ""))));
}

/** Looks again and again, for a bounded time. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error("It did not become true in time");
    await Bun.sleep(5);
  }
}

export function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return otherwise;
  }
}

/** A namespace of its own with bundles in it, all of it removed when disposed. */
export class Place implements AsyncDisposable {
  readonly path = mkdtempSync(join(tmpdir(), "wedge-"));
  readonly namespace = `test-${crypto.randomUUID().slice(0, 8)}`;
  readonly #sockets = new Set<string>();

  /** Where `BootstrapParams` may put the socket. */
  get socketDirectory(): string {
    return join(this.path, "s");
  }

  /** containerd's socket, which nobody listens on: it only has to be this place's own. */
  get grpcAddress(): string {
    return join(this.path, "c.sock");
  }

  bundle(id: string, annotations: Readonly<Record<string, string>> = {}): string {
    const path = join(this.path, id);
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, "config.json"), JSON.stringify({ annotations }));
    return path;
  }

  /** `start` for the bundle of that id, which exists. */
  async start(id: string, options: Partial<RunOptions> = {}): Promise<Run> {
    const { namespace, grpcAddress } = this;
    const args = ["-namespace", namespace, "-address", grpcAddress, "-id", id, "start"];
    const run = await runShim(args, { cwd: join(this.path, id), ...options });
    const [, socket] =
      /unix:\/\/(\/[^"]*?\/[0-9a-f]{64})/.exec(run.stdout.toString("latin1")) ?? [];
    if (socket !== undefined) this.#sockets.add(socket);
    // A process that has just been spawned has no command line for a moment.
    if (run.exitCode === 0) await until(() => daemonsOf(this.namespace).length > 0);
    return run;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await killDaemons(this.namespace);
    // Whose answer nobody could read has its address in the bundle.
    for (const name of readdirSync(this.path)) {
      const address = readOr(join(this.path, name, "address"), "");
      if (address !== "") this.#sockets.add(address.slice("unix://".length));
    }
    for (const socket of this.#sockets) rmSync(socket, { force: true });
    rmSync(this.path, { recursive: true, force: true });
  }
}
