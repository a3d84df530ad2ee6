/**
 * Every request of the Task API, changed at will, to a service that has one live container: each call
 * is answered or refused in words, and the service goes on.
 */

import { strict as assert } from "node:assert";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ShimError } from "../../../src/base/error.ts";
import { silentLogger } from "../../../src/base/log.ts";
import { CreateTaskRequest, TaskDefinition } from "../../../src/gen/containerd/task/v2/task.ts";
import { Children } from "../../../src/linux/children.ts";
import { Poller } from "../../../src/linux/poller.ts";
import { becomeSubreaper } from "../../../src/linux/self.ts";
import { type CallContext, type MethodDefinition, mountService } from "../../../src/rpc/service.ts";
import { TaskService } from "../../../src/service/task.ts";
import { FakeRuntime } from "../../fake/runtime.ts";
import type { FuzzTarget } from "../target.ts";

const NONE = new Uint8Array(0);
const CONTAINER = "c";
const EXEC = "e";
/** In front of each input: which method it is for. */
const methods: readonly MethodDefinition[] = Object.values(TaskDefinition.methods);

/** A service over a runtime that answers at once, and its one container. */
class Subject {
  readonly bundle = mkdtempSync(join(tmpdir(), "wedge-fuzz-"));
  readonly #poller = new Poller();
  readonly #children = new Children({ poller: this.#poller, reapStrays: true });
  readonly #runtimes = new DisposableStack();
  readonly service: TaskService;
  readonly mounted: ReturnType<typeof mountService>;

  constructor() {
    becomeSubreaper();
    writeFileSync(join(this.bundle, "config.json"), "{}");
    this.service = new TaskService({
      shimPid: process.pid,
      context: {
        poller: this.#poller,
        children: this.#children,
        log: silentLogger,
        namespace: "fuzz",
        environment: [],
      },
      openRuntime: () => ({ runtime: this.#openRuntime(), root: this.bundle }),
      publish: () => {},
      shutdown: () => {},
      onEmpty: () => {},
      log: silentLogger,
    });
    this.mounted = mountService(TaskDefinition, this.service);
  }

  /** Makes the container and its exec where an input has taken them away. */
  async restore(): Promise<void> {
    if (this.service.size > 0 && this.service.state({ id: CONTAINER, execId: "" }).status === 2) {
      return;
    }
    await this.#remove();
    const process = { id: CONTAINER, execId: "" };
    const call = context(new AbortController().signal);
    await this.service.create(createRequest(this.bundle), call);
    await this.service.start(process, call);
    await this.service.exec({ id: CONTAINER, execId: EXEC, spec, ...noStreams }, call);
  }

  async close(): Promise<void> {
    await this.#remove();
    this.#runtimes.dispose();
    this.#children[Symbol.dispose]();
    this.#poller[Symbol.dispose]();
    rmSync(this.bundle, { recursive: true, force: true });
  }

  #openRuntime(): FakeRuntime {
    return this.#runtimes.use(
      new FakeRuntime({
        children: this.#children,
        random: () => 0,
        ownPidNamespace: true,
        refusals: 0,
        earlyExits: 0,
      }),
    );
  }

  async #remove(): Promise<void> {
    const process = { id: CONTAINER, execId: "" };
    await this.service.kill({ ...process, signal: 9, all: true }).catch(() => {});
    const call = context(AbortSignal.timeout(5000));
    await this.service.wait(process, call).catch(() => {});
    await this.service.delete(process, call).catch(() => {});
  }
}

const noStreams = { terminal: false, stdin: "", stdout: "", stderr: "" };
const spec = { typeUrl: "", value: Buffer.from('{"args":["true"],"cwd":"/"}') };

function createRequest(bundle: string): CreateTaskRequest {
  return { ...CreateTaskRequest.decode(NONE), id: CONTAINER, bundle };
}

/** A call whose caller has gone where it would have to be waited for. */
function context(signal: AbortSignal): CallContext {
  const names = { service: "containerd.task.v2.Task", method: "" };
  return { ...names, signal, deadlineMs: undefined, metadata: new Map(), peer: {} };
}

/** A valid request of every method, the method's number in front. */
function seeds(): Uint8Array[] {
  const common = { id: CONTAINER, execId: "", spec, resources: spec, signal: 0, pid: 1 };
  return methods.map((method, index) => {
    const empty = method.requestType.decode(NONE);
    const message = typeof empty === "object" ? { ...empty, ...common } : empty;
    return Buffer.concat([Uint8Array.of(index), method.requestType.encode(message).finish()]);
  });
}

/** Only what a request says is fuzzed here: no stranger's file is opened and nothing is mounted. */
function harmless(message: unknown): unknown {
  if (typeof message !== "object" || message === null) return message;
  // Nor is a checkpoint's directory made where chance has it.
  if ("path" in message) return { ...message, path: "" };
  return "rootfs" in message ? { ...message, ...noStreams, rootfs: [] } : message;
}

let subject: Subject | undefined;

export const requestTarget: FuzzTarget = {
  name: "request",
  seeds: seeds(),
  words: [
    CONTAINER,
    EXEC,
    "../x",
    "/",
    "-c",
    "\0",
    "\x0a\x01c",
    "\x12\x01e",
    "{}",
    "null",
    "\x18\xff",
  ],
  async run(input) {
    subject ??= new Subject();
    await subject.restore();
    const definition = methods[(input[0] ?? 0) % methods.length];
    const method = definition && subject.mounted.methods.get(definition.name);
    assert.ok(definition !== undefined && method !== undefined);
    // A process is started by none of these: how they start has targets of its own.
    if (definition.name === "Start") return;
    const gone = AbortSignal.abort(new ShimError("canceled", "The caller has gone"));
    try {
      const request = harmless(method.decodeRequest(input.subarray(1)));
      const answer = await method.invoke(request, context(gone));
      assert.ok(method.encodeResponse(answer) instanceof Uint8Array);
    } catch (error) {
      assert.ok(error instanceof ShimError, String(error instanceof Error ? error.stack : error));
      assert.notEqual(error.message, "");
    }
  },
  async close() {
    await subject?.close();
    subject = undefined;
  },
};
