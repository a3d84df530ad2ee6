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
  TaskCreate,
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

type Stage = "created" | "started" | "exited";

interface Known {
  readonly stage: Stage;
  /** 0 until an event has told it. */
  readonly pid: number;
}

/** What a client knows; every event must be one that may come now. */
class Model {
  readonly #processes = new Map<string, Known>();
  readonly exits = new Map<string, { pid: number; status: number }>();
  /** Kept here as well as thrown: whoever publishes may take what is thrown for a refusal. */
  readonly violations: unknown[] = [];
  #isDeleted = false;

  take(event: TaskEvent): void {
    try {
      this.#judge(event);
    } catch (error) {
      this.violations.push(error);
      throw error;
    }
  }

  #judge({ topic, event }: TaskEvent): void {
    expect(this.#isDeleted).toBe(false);
    switch (topic) {
      case "/tasks/create":
        this.#enter("init", [undefined], {
          stage: "created",
          pid: TaskCreate.decode(event.value).pid,
        });
        break;
      case "/tasks/start": {
        const { pid } = TaskStart.decode(event.value);
        expect(pid).toBe(this.#processes.get("init")?.pid ?? 0);
        this.#enter("init", ["created"], { stage: "started", pid });
        break;
      }
      case "/tasks/exec-added":
        // An id may be had again, but only after it was deleted: see `forget`.
        this.#enter(TaskExecAdded.decode(event.value).execId, [undefined], {
          stage: "created",
          pid: 0,
        });
        break;
      case "/tasks/exec-started": {
        expect(this.#processes.get("init")?.stage).not.toBe("exited");
        const { execId, pid } = TaskExecStarted.decode(event.value);
        expect(pid).toBeGreaterThan(0);
        this.#enter(execId, ["created"], { stage: "started", pid });
        break;
      }
      case "/tasks/paused":
      case "/tasks/resumed":
        expect(this.#processes.get("init")?.stage).toBe("started");
        break;
      case "/tasks/exit":
        this.#exit(TaskExit.decode(event.value));
        break;
      case "/tasks/delete":
        expect(TaskDelete.decode(event.value)).toMatchObject({
          pid: this.exits.get("init")?.pid ?? 0,
          exitStatus: this.exits.get("init")?.status ?? 0,
        });
        this.finish();
        this.#isDeleted = true;
        break;
      default:
        throw new Error(`An event that nobody expects: ${topic}`);
    }
  }

  /** An exec was deleted: no event tells of it, and its id is free. */
  forget(execId: string): void {
    expect(this.#processes.get(execId)?.stage).not.toBe("started");
    this.#processes.delete(execId);
    this.exits.delete(execId);
  }

  /** Every process that was started has told its exit. */
  finish(): void {
    const open = [...this.#processes].filter(([, { stage }]) => stage === "started");
    expect(open).toEqual([]);
    expect(this.#processes.get("init")?.stage).toBe("exited");
  }

  #exit({ id, containerId, pid, exitStatus, exitedAt }: TaskExit): void {
    const name = id === containerId ? "init" : id;
    expect(exitedAt).toBeDefined();
    if (name === "init") {
      const open = [...this.#processes].filter(([, { stage }]) => stage === "started");
      expect(open.map(([process]) => process).filter((process) => process !== "init")).toEqual([]);
    }
    expect(pid).toBe(this.#processes.get(name)?.pid ?? 0);
    this.#enter(name, name === "init" ? ["created", "started"] : ["started"], {
      stage: "exited",
      pid,
    });
    this.exits.set(name, { pid, status: exitStatus });
  }

  #enter(name: string, from: readonly (Stage | undefined)[], to: Known): void {
    const stage = this.#processes.get(name)?.stage;
    expect({ name, stage, to, allowed: from.some((allowed) => allowed === stage) }).toMatchObject({
      allowed: true,
    });
    this.#processes.set(name, to);
  }
}

interface Life {
  readonly service: TaskService;
  readonly random: () => number;
  readonly model: Model;
  /** Of clients that wait for what never started: released at the latest when the container is deleted. */
  readonly waits: Promise<number | undefined>[];
}

const PROGRAMS = [
  "exit 0",
  "exit 7",
  "sleep 0.002; exit 3",
  "sleep 0.01",
  "kill -9 $$",
  "sleep 1000",
];

/** Several clients wait for one process, some of which go away; the statuses that they are told. */
function waitMany({ service, random }: Life, execId: string): Promise<number | undefined>[] {
  return Array.from({ length: 1 + Math.floor(random() * 4) }, async () => {
    const client = new AbortController();
    const timer = random() < 0.3 ? setTimeout(() => client.abort(), random() * 10) : undefined;
    try {
      const context = { ...call, signal: client.signal };
      return (await service.wait({ id: "c", execId }, context)).exitStatus;
    } catch (error) {
      if (!client.signal.aborted) throw error;
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  });
}

/** Answers or refusals; which of them is for the model to judge. */
async function anyOf<T>(answers: readonly Promise<T>[]): Promise<T | undefined> {
  const settled = await Promise.allSettled(answers);
  return settled.find((answer) => answer.status === "fulfilled")?.value;
}

/** Registers, starts, perhaps kills, waits for and deletes one exec, by several clients at once. */
async function liveExec(life: Life, execId: string): Promise<void> {
  const { service, random, model } = life;
  const program = PROGRAMS[Math.floor(random() * PROGRAMS.length)] ?? "true";
  const spec = { typeUrl: "", value: Buffer.from(JSON.stringify({ args: [program] })) };
  const paths = { terminal: false, stdin: "", stdout: "", stderr: "" };
  await service.exec({ id: "c", execId, spec, ...paths }, call);
  const waits = waitMany(life, execId);
  life.waits.push(...waits);
  const remove = async () => {
    const answer = await service.delete({ id: "c", execId }, call);
    model.forget(execId);
    return answer;
  };
  const early: Promise<unknown>[] = [];
  // Too early or too late, both are refused.
  const perhaps = (ask: () => Promise<unknown>) =>
    early.push(
      Bun.sleep(random() * 4)
        .then(ask)
        .catch(() => {}),
    );
  if (random() < 0.2) perhaps(remove);
  if (random() < 0.2) perhaps(() => service.kill({ id: "c", execId, signal: 15, all: false }));
  const starts = Array.from({ length: random() < 0.3 ? 2 : 1 }, () =>
    service.start({ id: "c", execId }, call),
  );
  const started = await anyOf(starts);
  await Promise.all(early);
  if (started === undefined) {
    // Refused by the runtime, init was dead, or deleted first: no exit may be told then.
    await anyOf([remove()]);
    return;
  }
  if (random() < 0.3)
    await service.kill({ id: "c", execId, signal: 15, all: false }).catch(() => {});
  const { exitStatus } = await service.wait({ id: "c", execId }, call);
  const { pid } = started;
  expect(model.exits.get(execId)).toEqual({ pid, status: exitStatus });
  for (const status of await Promise.all(waits)) expect([undefined, exitStatus]).toContain(status);
  const deleted = await anyOf([remove(), remove()]);
  expect(deleted).toMatchObject({ pid, exitStatus });
}

/** Ends a container by a kill, or by a Delete where it was never started. */
async function end(
  { service, random }: Life,
  runtime: FakeRuntime,
  { ownPidNamespace, isStarted }: { ownPidNamespace: boolean; isStarted: boolean },
): Promise<void> {
  if (random() < 0.3) await service.pause({ id: "c" }).catch(() => {});
  if (random() < 0.2) await service.resume({ id: "c" }).catch(() => {});
  // With a pid namespace of its own the kernel would kill the execs with init.
  if (ownPidNamespace) await runtime.kill("c", 9, { all: true });
  else if (isStarted || random() < 0.5)
    await service.kill({ id: "c", execId: "", signal: 9, all: false }).catch(() => {});
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
    new FakeRuntime({ children, random, ownPidNamespace, refusals: 0.1, earlyExits: 0.2 }),
  );
  const model = new Model();
  const service = new TaskService({
    shimPid: process.pid,
    context: { poller, children, log: silentLogger, namespace: "test", environment: [] },
    openRuntime: () => ({ runtime, root: bundle }),
    publish: (event) => model.take(event),
    shutdown: () => {},
    onEmpty: () => {},
    log: silentLogger,
  });
  const life: Life = { service, random, model, waits: [] };
  const io = { terminal: false, stdin: "", stdout: "", stderr: "" };
  const none = { checkpoint: "", parentCheckpoint: "", options: undefined, rootfs: [] };
  await service.create({ id: "c", bundle, ...none, ...io }, call);
  const waited = waitMany(life, "");
  const start = () => service.start({ id: "c", execId: "" }, call);
  const isStarted =
    random() < 0.85 && (await anyOf(random() < 0.3 ? [start(), start()] : [start()])) !== undefined;
  const execs = Array.from({ length: Math.floor(random() * 6) }, async (_, index) => {
    await Bun.sleep(random() * 8);
    // Refusals of a stopped container are answers; a broken order is not.
    const answers = /cannot exec|not running|does not exist|container not created/;
    for (let times = random() < 0.3 ? 2 : 1; times > 0; times--) {
      await liveExec(life, `e${index}`).catch((error) => {
        if (!answers.test(String(error))) throw error;
      });
    }
  });
  await Bun.sleep(random() * 15);
  await end(life, runtime, { ownPidNamespace, isStarted });
  const remove = () => service.delete({ id: "c", execId: "" }, call);
  // Whoever deletes what runs is refused; a container that was never started is ended by it.
  if (!isStarted && !ownPidNamespace) expect((await remove()).exitStatus).toBe(137);
  else {
    await service.wait({ id: "c", execId: "" }, call);
    await Promise.all(execs);
    expect((await anyOf([remove(), remove()]))?.exitStatus).toBe(137);
  }
  await Promise.all(execs);
  for (const status of await Promise.all(waited)) expect([undefined, 137]).toContain(status);
  await Promise.all(life.waits);
  expect(model.violations).toEqual([]);
  expect(model.exits.get("init")?.status).toBe(137);
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
