/**
 * A task service over real runc, in this process, with containers of its own. The runtime is a wrapper
 * around runc that can be told to hang in any verb of any container.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../src/base/log.ts";
import type { TaskEvent } from "../../src/event/task-event.ts";
import type { CreateTaskRequest } from "../../src/gen/containerd/task/v2/task.ts";
import { Children } from "../../src/linux/children.ts";
import { Poller } from "../../src/linux/poller.ts";
import { becomeSubreaper } from "../../src/linux/self.ts";
import type { CallContext } from "../../src/rpc/service.ts";
import { parseDeadlines } from "../../src/runtime/deadlines.ts";
import { Runc } from "../../src/runtime/runc.ts";
import { TaskService } from "../../src/service/task.ts";
import { type Bundle, type BundleOptions, makeBundle } from "../fake/bundle.ts";
import { HangingRuntime } from "../fake/hanging-runtime.ts";

const NO_STDIO = { terminal: false, stdin: "", stdout: "", stderr: "" };
/** The context of a call; its client leaves when `signal` aborts. */
export function callOf(signal: AbortSignal = new AbortController().signal): CallContext {
  return {
    service: "containerd.task.v2.Task",
    method: "",
    signal,
    deadlineMs: undefined,
    metadata: new Map(),
    peer: {},
  };
}

export class ServicePlace implements AsyncDisposable {
  readonly poller: Poller;
  readonly children: Children;
  readonly directory = mkdtempSync(join(tmpdir(), "wedge-service-"));
  readonly events: TaskEvent[] = [];
  readonly service: TaskService;
  /** Called with each event, at the instant in which it is published. */
  onEvent: (event: TaskEvent) => void = () => {};
  /** How often the service has asked for its end, and has told that it is empty. */
  shutdowns = 0;
  empties = 0;
  readonly #runtime = new HangingRuntime(this.directory);
  readonly #bundles: Bundle[] = [];

  /** `deadlines` as in WEDGE_DEADLINES. Takes `poller` for its own. */
  constructor(deadlines = "", poller = new Poller()) {
    this.poller = poller;
    this.children = new Children({ poller, reapStrays: true });
    becomeSubreaper();
    const command = this.#runtime.path;
    const root = join(this.directory, "root");
    this.service = new TaskService({
      shimPid: process.pid,
      context: {
        poller: this.poller,
        children: this.children,
        log: silentLogger,
        namespace: "test",
        environment: [],
      },
      openRuntime: (bundle) => ({
        root,
        runtime: new Runc(
          {
            ...{ command, root, bundle, systemdCgroup: false },
            environment: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
          },
          { children: this.children, deadlines: parseDeadlines(deadlines) },
        ),
      }),
      publish: (event) => {
        this.onEvent(event);
        this.events.push(event);
      },
      shutdown: () => this.shutdowns++,
      onEmpty: () => this.empties++,
      log: silentLogger,
    });
  }

  get topics(): readonly string[] {
    return this.events.map(({ topic }) => topic);
  }

  bundle(options: BundleOptions = {}): Bundle {
    const bundle = makeBundle({ parent: this.directory, ...options });
    this.#bundles.push(bundle);
    return bundle;
  }

  requestFor({ id, path }: Bundle): CreateTaskRequest {
    return {
      ...{ id, bundle: path, rootfs: [], checkpoint: "", parentCheckpoint: "", options: undefined },
      ...NO_STDIO,
    };
  }

  /** Creates and starts a container that sleeps. */
  async running(): Promise<Bundle> {
    const bundle = this.bundle({ args: ["sleep", "1000"] });
    await this.service.create(this.requestFor(bundle), callOf());
    await this.service.start({ id: bundle.id, execId: "" }, callOf());
    return bundle;
  }

  /** Kills a container, waits for its end, and deletes it. */
  async end({ id }: Bundle): Promise<void> {
    const waited = this.service.wait({ id, execId: "" }, callOf());
    await this.service.kill({ id, execId: "", signal: 9, all: false }).catch(() => {});
    await waited;
    await this.service.delete({ id, execId: "" }, callOf());
  }

  /** Registers an exec of `args`. */
  async addExec(
    { id }: Pick<Bundle, "id">,
    execId: string,
    args: readonly string[],
  ): Promise<void> {
    const process = { args, cwd: "/", env: ["PATH=/bin"], user: { uid: 0, gid: 0 } };
    const spec = { typeUrl: "", value: Buffer.from(JSON.stringify(process)) };
    await this.service.exec({ id, execId, spec, ...NO_STDIO }, callOf());
  }

  /** As {@link HangingRuntime.hang}. */
  hang(verb: string, bundle: Bundle): void {
    this.#runtime.hang(verb, bundle);
  }

  /** As {@link HangingRuntime.hung}. */
  async hung(verb: string, bundle: Bundle): Promise<number> {
    return await this.#runtime.hung(verb, bundle);
  }

  /** As {@link HangingRuntime.release}. */
  release(verb: string, bundle: Pick<Bundle, "id">): void {
    this.#runtime.release(verb, bundle);
  }

  /** As {@link HangingRuntime.heal}. */
  heal(verb: string, bundle: Pick<Bundle, "id">): void {
    this.#runtime.heal(verb, bundle);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#runtime[Symbol.dispose]();
    const root = join(this.directory, "root");
    for (const { id } of this.#bundles) {
      // Not by Bun.spawn: who reaps strays may be quicker than it.
      const child = this.children.spawn({
        argv: [Bun.which("runc") ?? "runc", "--root", root, "delete", "--force", id],
        env: [],
        stdio: [undefined, undefined, undefined],
      });
      await child.exited;
    }
    for (const bundle of this.#bundles) bundle[Symbol.dispose]();
    rmSync(this.directory, { recursive: true, force: true });
    this.children[Symbol.dispose]();
    this.poller[Symbol.dispose]();
  }
}

/** The error that `call` rejects with. */
export async function errorOf(call: Promise<unknown>): Promise<unknown> {
  try {
    await call;
  } catch (error) {
    return error;
  }
  throw new Error("The call succeeded");
}
