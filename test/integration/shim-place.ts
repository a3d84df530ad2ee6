/** The compiled shim over real runc, called over ttrpc as containerd would, with no containerd. */

import { strict as assert } from "node:assert";
import { join } from "node:path";
import { DeleteResponse, TaskDefinition } from "../../src/gen/containerd/task/v2/task.ts";
import { Options } from "../../src/gen/containerd/types/runc/options/oci.ts";
import { connectBun } from "../../src/rpc/ttrpc/bun.ts";
import { createStub } from "../../src/rpc/ttrpc/stub.ts";
import { daemonsOf, killDaemons, Place, runShim, until } from "../command/shim-process.ts";
import { makeBundle } from "../fake/bundle.ts";

const SHIM = join(import.meta.dirname, "../../dist/containerd-shim-wedge-v2");
const NO_STDIO = { terminal: false, stdin: "", stdout: "", stderr: "" };

export interface Preparation {
  readonly id?: string;
  /** Does what a hostile hand might to a bundle that nobody uses yet; returns the path to create it by. */
  readonly spoil?: (bundle: string) => string;
}

/** Shims with one container each, whose runtime keeps its state here. */
export class ShimPlace extends Place {
  readonly ttrpc = join(this.path, "ttrpc.sock");
  readonly #env: Readonly<Record<string, string>>;
  readonly #program: string;
  readonly #ids: string[] = [];

  /** `env` goes to the shims, which are those of `program`. */
  constructor(env: Readonly<Record<string, string>> = {}, program: string = SHIM) {
    super();
    this.#program = program;
    this.#env = { ...env, TTRPC_ADDRESS: this.ttrpc };
  }

  /** Starts a shim and creates a container that runs `script` when it is told to. */
  async create(script: string, options: Partial<Options> = {}, prepare: Preparation = {}) {
    // A cgroup of the host has the container's id for its name: no other may have it.
    const { id = `wedge-${crypto.randomUUID().slice(0, 12)}`, spoil = (path) => path } = prepare;
    this.#ids.push(id);
    const bundle = makeBundle({ id, parent: this.path, script });
    const bundlePath = spoil(bundle.path);
    const started = await this.start(id, { program: [this.#program], env: this.#env });
    assert.equal(started.exitCode, 0, started.stderr);
    const address = started.stdout.toString().replace("unix://", "");
    const client = await connectBun({ unix: address });
    const task = createStub(client, TaskDefinition);
    const { shimPid } = await task.connect({ id });
    const value = Options.encode({
      ...Options.decode(new Uint8Array()),
      ...{ root: join(this.path, "runc"), ...options },
    }).finish();
    const created = task.create({
      ...{ id, bundle: bundlePath, rootfs: [], checkpoint: "", parentCheckpoint: "" },
      ...NO_STDIO,
      options: { typeUrl: "containerd.runc.v1.Options", value },
    });
    return { id, bundle, address, client, task, shimPid, created };
  }

  /** What containerd runs when a shim is dead. */
  async delete(id: string): Promise<DeleteResponse> {
    const flags = ["-namespace", this.namespace, "-address", this.grpcAddress, "-id", id];
    const bundle = join(this.path, id);
    const run = await runShim([...flags, "-bundle", bundle, "delete"], {
      cwd: bundle,
      env: this.#env,
      program: [this.#program],
    });
    assert.deepEqual([run.exitCode, run.stderr], [0, ""]);
    return DeleteResponse.decode(run.stdout);
  }

  /** Ends the shims and then their containers, which outlive them. */
  override async [Symbol.asyncDispose](): Promise<void> {
    await killDaemons(this.namespace);
    for (const id of this.#ids) {
      const root = join(this.path, "runc", this.namespace);
      await Bun.spawn(["runc", "--root", root, "delete", "--force", id], {
        stdio: ["ignore", "ignore", "ignore"],
      }).exited;
    }
    await super[Symbol.asyncDispose]();
  }

  async kill(pid: number, signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    process.kill(pid, signal);
    await until(() => !daemonsOf(this.namespace).includes(pid));
  }
}
