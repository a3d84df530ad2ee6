/**
 * The order of events under random interleavings of starts, execs, exits, kills and deletes, checked
 * against a model: what a client may conclude from each event that it has seen so far.
 */

import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../src/base/log.ts";
import type { TaskEvent } from "../../src/event/task-event.ts";
import {
  TaskDelete,
  TaskExecAdded,
  TaskExecStarted,
  TaskExit,
  TaskStart,
} from "../../src/gen/containerd/events/task.ts";
import { Children } from "../../src/linux/children.ts";
import { Poller } from "../../src/linux/poller.ts";
import { becomeSubreaper } from "../../src/linux/self.ts";
import type { CallContext } from "../../src/rpc/service.ts";
import { TaskService } from "../../src/service/task.ts";
import { FakeRuntime, seededRandom } from "../fake/runtime.ts";

const poller = new Poller();
const children = new Children({ poller, reapStrays: true });
becomeSubreaper();

afterAll(() => {
  children[Symbol.dispose]();
  poller[Symbol.dispose]();
});

const call: CallContext = {
  service: "containerd.task.v2.Task",
  method: "",
  signal: new AbortController().signal,
  deadlineMs: undefined,
  metadata: new Map(),
  peer: {},
};

/** What a client knows; every event must be one that may come now. */
class Model {
  readonly #processes = new Map<string, "created" | "started" | "exited">();
  readonly exits = new Map<string, { pid: number; status: number }>();
  #isDeleted = false;

  take({ topic, event }: TaskEvent): void {
    expect(this.#isDeleted).toBe(false);
    switch (topic) {
      case "/tasks/create":
        this.#enter("init", [undefined], "created");
        break;
      case "/tasks/start":
        TaskStart.decode(event.value);
        this.#enter("init", ["created"], "started");
        break;
      case "/tasks/exec-added":
        this.#enter(TaskExecAdded.decode(event.value).execId, [undefined], "created");
        break;
      case "/tasks/exec-started":
        expect(this.#processes.get("init")).not.toBe("exited");
        this.#enter(TaskExecStarted.decode(event.value).execId, ["created"], "started");
        break;
      case "/tasks/exit":
        this.#exit(TaskExit.decode(event.value));
        break;
      case "/tasks/delete":
        TaskDelete.decode(event.value);
        expect(this.#processes.get("init")).toBe("exited");
        this.#isDeleted = true;
        break;
      default:
    }
  }

  #exit({ id, containerId, pid, exitStatus }: TaskExit): void {
    const name = id === containerId ? "init" : id;
    if (name === "init") {
      const open = [...this.#processes].filter(([, state]) => state === "started");
      expect(open.map(([process]) => process).filter((process) => process !== "init")).toEqual([]);
      this.#enter(name, ["created", "started"], "exited");
    } else {
      this.#enter(name, ["started"], "exited");
    }
    this.exits.set(name, { pid, status: exitStatus });
  }

  #enter(
    name: string,
    from: readonly ("created" | "started" | undefined)[],
    to: "created" | "started" | "exited",
  ): void {
    const state = this.#processes.get(name);
    expect({ name, state, to, allowed: from.some((allowed) => allowed === state) }).toMatchObject({
      allowed: true,
    });
    this.#processes.set(name, to);
  }
}

interface Life {
  readonly service: TaskService;
  readonly random: () => number;
  readonly model: Model;
}

const PROGRAMS = [
  "exit 0",
  "exit 7",
  "sleep 0.002; exit 3",
  "sleep 0.01",
  "kill -9 $$",
  "sleep 1000",
];

/** Registers, starts, perhaps kills, waits for and deletes one exec; every answer may be a refusal. */
async function liveExec({ service, random, model }: Life, execId: string): Promise<void> {
  const program = PROGRAMS[Math.floor(random() * PROGRAMS.length)] ?? "true";
  const spec = { typeUrl: "", value: Buffer.from(JSON.stringify({ args: [program] })) };
  const paths = { terminal: false, stdin: "", stdout: "", stderr: "" };
  await service.exec({ id: "c", execId, spec, ...paths }, call);
  let pid: number;
  try {
    ({ pid } = await service.start({ id: "c", execId }, call));
  } catch {
    return; // Refused by the runtime, or init was dead: no exit may be told then.
  }
  if (random() < 0.3)
    await service.kill({ id: "c", execId, signal: 15, all: false }).catch(() => {});
  const waited = await service.wait({ id: "c", execId }, call);
  expect(model.exits.get(execId)).toEqual({ pid, status: waited.exitStatus });
  const deleted = await service.delete({ id: "c", execId }, call);
  expect(deleted).toMatchObject({ pid, exitStatus: waited.exitStatus });
}

/** One container's life under chance. */
async function live(seed: number, ownPidNamespace: boolean): Promise<void> {
  const random = seededRandom(seed);
  const bundle = mkdtempSync(join(tmpdir(), "wedge-order-"));
  using cleanup = new DisposableStack();
  cleanup.defer(() => rmSync(bundle, { recursive: true, force: true }));
  const namespaces = ownPidNamespace ? [{ type: "pid" }] : [];
  writeFileSync(join(bundle, "config.json"), JSON.stringify({ linux: { namespaces } }));
  const runtime = cleanup.use(
    new FakeRuntime({ children, random, ownPidNamespace, refusals: 0.1 }),
  );
  const model = new Model();
  const service = new TaskService({
    context: { poller, children, log: silentLogger, namespace: "test" },
    openRuntime: () => ({ runtime, root: bundle }),
    publish: (event) => model.take(event),
    shutdown: () => {},
    onEmpty: () => {},
    log: silentLogger,
  });
  const io = { terminal: false, stdin: "", stdout: "", stderr: "" };
  const none = { checkpoint: "", parentCheckpoint: "", options: undefined, rootfs: [] };
  await service.create({ id: "c", bundle, ...none, ...io }, call);
  const waited = service.wait({ id: "c", execId: "" }, call);
  const life = { service, random, model };
  if (random() < 0.85) await service.start({ id: "c", execId: "" }, call).catch(() => {});
  const execs = Array.from({ length: Math.floor(random() * 6) }, async (_, index) => {
    await Bun.sleep(random() * 8);
    await liveExec(life, `e${index}`).catch((error) => {
      // Refusals of a stopped container are answers; a broken order is not.
      if (!/cannot exec|not running|does not exist/.test(String(error))) throw error;
    });
  });
  await Bun.sleep(random() * 15);
  if (random() < 0.3) await service.pause({ id: "c" }).catch(() => {});
  // With a pid namespace of its own the kernel would kill the execs with init.
  if (ownPidNamespace) await runtime.kill("c", 9, { all: true });
  else await service.kill({ id: "c", execId: "", signal: 9, all: false });
  const { exitStatus } = await waited;
  expect(exitStatus).toBe(137);
  await Promise.all(execs);
  expect(model.exits.get("init")?.status).toBe(137);
  const deleted = await service.delete({ id: "c", execId: "" }, call);
  expect(deleted.exitStatus).toBe(137);
  expect(service.size).toBe(0);
}

describe("the order of events", () => {
  const seeds = Array.from({ length: 60 }, (_, index) => index + 1);

  test.each(seeds)(
    "holds for a container with a pid namespace of its own, seed %d",
    async (seed) => {
      await live(seed, true);
    },
  );

  test.each(seeds)("holds for a container in a shared pid namespace, seed %d", async (seed) => {
    await live(seed + 1000, false);
  });
});
