/**
 * A task service over real runc, in this process, with containers of its own. The runtime is a wrapper
 * around runc that can be told to hang in any verb of any container.
 */

import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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

const NO_STDIO = { terminal: false, stdin: "", stdout: "", stderr: "" };
/** Any verb and any id among the arguments; the process that hangs says its number. */
const WRAPPER = `#!/bin/sh
for verb in "$@"; do
  for id in "$@"; do
    if [ -e "DIRECTORY/hang-$verb-$id" ]; then
      echo $$ > "DIRECTORY/hung-$verb-$id"
      while [ -e "DIRECTORY/hang-$verb-$id" ]; do sleep 0.02; done
    fi
  done
done
exec runc "$@"
`;

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
  readonly poller = new Poller();
  readonly children = new Children({ poller: this.poller, reapStrays: true });
  readonly directory = mkdtempSync(join(tmpdir(), "wedge-service-"));
  readonly events: TaskEvent[] = [];
  readonly service: TaskService;
  /** How often the service has asked for its end, and has told that it is empty. */
  shutdowns = 0;
  empties = 0;
  readonly #bundles: Bundle[] = [];
  readonly #hung = new Set<string>();

  /** `deadlines` as in WEDGE_DEADLINES. */
  constructor(deadlines = "") {
    becomeSubreaper();
    const command = join(this.directory, "wrapper");
    writeFileSync(command, WRAPPER.replaceAll("DIRECTORY", this.directory));
    chmodSync(command, 0o755);
    const root = join(this.directory, "root");
    this.service = new TaskService({
      context: {
        poller: this.poller,
        children: this.children,
        log: silentLogger,
        namespace: "test",
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
      publish: (event) => this.events.push(event),
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

  /** From now on the runtime hangs in this verb of this container. */
  hang(verb: string, { id }: Bundle): void {
    writeFileSync(join(this.directory, `hang-${verb}-${id}`), "");
  }

  /** Resolves when a runtime process hangs there. */
  async hung(verb: string, { id }: Bundle): Promise<void> {
    const file = join(this.directory, `hung-${verb}-${id}`);
    while (!existsSync(file) || readFileSync(file, "utf8") === "") await Bun.sleep(5);
    this.#hung.add(file);
  }

  /** What hangs goes on. */
  release(verb: string, { id }: Pick<Bundle, "id">): void {
    rmSync(join(this.directory, `hang-${verb}-${id}`));
  }

  /** The runtime works again; a process that hangs is killed. */
  heal(verb: string, { id }: Pick<Bundle, "id">): void {
    const file = join(this.directory, `hung-${verb}-${id}`);
    killIfThere(Number(readFileSync(file, "utf8")));
    this.#hung.delete(file);
    this.release(verb, { id });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const file of this.#hung) killIfThere(Number(readFileSync(file, "utf8")));
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

function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
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
