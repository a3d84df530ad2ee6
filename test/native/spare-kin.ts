/** Shims and spares of one test, distinguished from all others by their environment. */

import { expect } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { SPARES_DIRECTORY } from "../../src/command/spare/spare.ts";
import { TaskDefinition } from "../../src/gen/containerd/task/v2/task.ts";
import { connectBun } from "../../src/rpc/ttrpc/bun.ts";
import { createStub } from "../../src/rpc/ttrpc/stub.ts";
import { daemonsOf, Place, type RunOptions, readOr, until } from "../command/shim-process.ts";
import { executable } from "../compiled.ts";

const SPARE = "wedge\0spare\0";

export class Kin implements AsyncDisposable {
  readonly place = new Place();
  readonly env: Readonly<Record<string, string>>;

  constructor(env: Readonly<Record<string, string>> = {}) {
    this.env = { WEDGE_TEST_KIN: this.place.namespace, ...env };
  }

  /** Those that a launcher finds. */
  get spares(): readonly number[] {
    return this.waiting.filter((pid) => socketsOf(pid).length > 0);
  }

  /** All, also on their way in or out. */
  get waiting(): readonly number[] {
    return this.#processes().filter((pid) => readOr(`/proc/${pid}/cmdline`, "") === SPARE);
  }

  get shims(): readonly number[] {
    return daemonsOf(this.place.namespace);
  }

  /** `start` of a shim in a bundle of its own; its socket. */
  async start(id: string, options: Partial<RunOptions> = {}): Promise<string> {
    const run = await this.run(id, options);
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    return run.stdout.toString().slice("unix://".length);
  }

  async run(id: string, options: Partial<RunOptions> = {}) {
    if (!existsSync(join(this.place.path, id))) this.place.bundle(id);
    const env = { ...this.env, ...options.env };
    return await this.place.start(id, { program: [executable], ...options, env });
  }

  /** A spare of a shim that has had no container; its pid. */
  async spare(id = "first", options: Partial<RunOptions> = {}): Promise<number> {
    const before = this.spares;
    await letGo(await this.start(id, options));
    await until(() => this.spares.length > before.length);
    return this.spares.find((pid) => !before.includes(pid)) ?? 0;
  }

  #processes(): readonly number[] {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) =>
        readOr(`/proc/${pid}/environ`, "").includes(`WEDGE_TEST_KIN=${this.place.namespace}\0`),
      )
      .map(Number);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pid of this.waiting) process.kill(pid, "SIGTERM");
    await until(() => this.waiting.length === 0);
    await this.place[Symbol.asyncDispose]();
  }
}

/** Asks a shim without containers to end, and waits until its process has. */
export async function letGo(socket: string): Promise<number> {
  using client = await connectBun({ unix: socket });
  const task = createStub(client, TaskDefinition);
  const { shimPid } = await task.connect({ id: "" });
  await task.shutdown({ id: "", now: false });
  await until(() => !/^State:\t[^ZX]/m.test(readOr(`/proc/${shimPid}/status`, "")));
  return shimPid;
}

export async function pidOf(socket: string): Promise<number> {
  using client = await connectBun({ unix: socket });
  return (await createStub(client, TaskDefinition).connect({ id: "" })).shimPid;
}

/** Where spares of this test could have left something. */
export function socketsOf(pid: number): readonly string[] {
  if (!existsSync(SPARES_DIRECTORY)) return [];
  return readdirSync(SPARES_DIRECTORY).flatMap((kin) => {
    const path = join(SPARES_DIRECTORY, kin, String(pid));
    return existsSync(path) ? [path] : [];
  });
}
