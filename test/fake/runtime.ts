/**
 * A runtime whose processes are real and whose timing is hostile: it answers late, leaves processes
 * that die before it answers, and refuses now and then. For what a real runtime cannot be made to do.
 */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Children } from "../../src/linux/children.ts";
import type {
  CreateRequest,
  ExecRequest,
  RestoreRequest,
  Runtime,
} from "../../src/runtime/runtime.ts";

/** Numbers that can be had again from the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

export interface FakeRuntimeOptions {
  readonly children: Children;
  readonly random: () => number;
  /** Whether the kernel lets nothing live on, or begin, once init is killed. */
  readonly ownPidNamespace: boolean;
  /** Chance that a start or an exec is refused. */
  readonly refusals: number;
  /** Chance that init has ended before a start that succeeds has answered. */
  readonly earlyExits: number;
}

/** Implements every verb over `sh` and `sleep`. */
export class FakeRuntime implements Runtime, Disposable {
  readonly #options: FakeRuntimeOptions;
  readonly #directory = mkdtempSync(join(tmpdir(), "fake-runtime-"));
  readonly #pids: number[] = [];
  #count = 0;
  #isDead = false;

  constructor(options: FakeRuntimeOptions) {
    this.#options = options;
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async create(_id: string, _request: CreateRequest): Promise<number> {
    return await this.#leave("exec sleep 1000");
  }

  async restore(_id: string, _request: RestoreRequest): Promise<number> {
    return await this.#leave("exec sleep 1000");
  }

  async start(): Promise<void> {
    await this.#dawdle();
    this.#refuseSometimes("start");
    if (this.#options.random() >= this.#options.earlyExits) return;
    await this.kill("", 9, { all: this.#options.ownPidNamespace });
    await this.#dawdle();
  }

  /** The program is the first argument of the process: a line of shell. */
  async exec(_id: string, request: ExecRequest): Promise<number> {
    this.#refuseSometimes("exec");
    const parsed: { args: string[] } = JSON.parse(request.processJson);
    return await this.#leave(parsed.args[0] ?? "true");
  }

  async kill(_id: string, signal: number, { all }: { all: boolean }): Promise<void> {
    await this.#dawdle();
    this.#isDead = true;
    for (const pid of all ? this.#pids : this.#pids.slice(0, 1)) this.#signal(pid, signal);
  }

  async delete(): Promise<void> {
    await this.#dawdle();
  }

  async pause(): Promise<void> {
    await this.#dawdle();
  }

  async resume(): Promise<void> {
    await this.#dawdle();
  }

  async update(): Promise<void> {}

  async checkpoint(): Promise<void> {}

  async features(): Promise<string> {
    return "{}";
  }

  /** Starts `script` as an orphan, and answers some time later. */
  async #leave(script: string): Promise<number> {
    const file = join(this.#directory, String(this.#count++));
    const child = this.#options.children.spawn({
      argv: ["/bin/sh", "-c", `(${script}) >/dev/null 2>&1 & echo $! > ${file}`],
      env: ["PATH=/usr/bin:/bin"],
      stdio: [undefined, undefined, undefined],
    });
    await child.exited;
    const pid = Number(readFileSync(file, "utf8"));
    if (!(pid > 0)) throw new Error(`The fake runtime left no process: ${script}`);
    this.#pids.push(pid);
    await this.#dawdle();
    if (this.#isDead && this.#options.ownPidNamespace) this.#signal(pid, 9);
    return pid;
  }

  #signal(pid: number, signal: number): void {
    try {
      process.kill(pid, signal);
    } catch {
      // Gone already.
    }
  }

  #refuseSometimes(verb: string): void {
    if (this.#options.random() < this.#options.refusals) throw new Error(`${verb} refused`);
  }

  async #dawdle(): Promise<void> {
    await Bun.sleep(this.#options.random() * 6);
  }
}
