/**
 * A runtime that hangs, verb by verb, under the compiled shim and as its clients see it: who is served
 * all the while, what the caller is told, what a client that asks again is answered, and how it ends.
 */

import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Status } from "../../src/gen/containerd/types/task/task.ts";
import type { CallOptions } from "../../src/rpc/ttrpc/client.ts";
import { readOr, runShim } from "../command/shim-process.ts";
import { buildExecutable, executable } from "../compiled.ts";
import { type Bundle, listMountsBelow } from "../fake/bundle.ts";
import { HangingRuntime } from "../fake/hanging-runtime.ts";
import { LiveShim, until } from "./live-shim.ts";

const LIMIT_MS = 60_000;
/** What a client waits for what is held up, and the shim for the runtime, where the test waits for that. */
const SHORT_MS = 400;
/** What a client waits for what nothing may hold up. */
const PROMPT: CallOptions = { timeoutMs: 10_000 };
const SIGKILL = 9;
const SIGTERM = 15;

type Ask = (options?: CallOptions) => Promise<unknown>;

/** A shim whose runtime can be told to hang. */
class Place implements AsyncDisposable {
  readonly shim: LiveShim;
  readonly runtime: HangingRuntime;

  constructor(shim: LiveShim) {
    this.shim = shim;
    this.runtime = new HangingRuntime(shim.path);
  }

  static async open(deadlines = ""): Promise<Place> {
    return new Place(await LiveShim.start({ env: { WEDGE_DEADLINES: deadlines } }));
  }

  bundle(): Bundle {
    return this.shim.bundle({ args: ["sleep", "1000"] });
  }

  request(bundle: Bundle) {
    const request = this.shim.createRequest(bundle, {}, { binaryName: this.runtime.path });
    // Onto itself, so that there is a mount to undo.
    const mount = { type: "bind", source: bundle.rootfs, target: "", options: ["rbind", "rw"] };
    return { ...request, rootfs: [mount] };
  }

  async created(): Promise<Bundle> {
    const bundle = this.bundle();
    await this.shim.task.create(this.request(bundle), PROMPT);
    return bundle;
  }

  async running(): Promise<Bundle> {
    const bundle = await this.created();
    await this.shim.task.start({ id: bundle.id, execId: "" }, PROMPT);
    return bundle;
  }

  async stopped(): Promise<Bundle> {
    const bundle = await this.running();
    const { id } = bundle;
    await this.shim.task.kill({ id, execId: "", signal: SIGKILL, all: false }, PROMPT);
    await this.shim.task.wait({ id, execId: "" }, PROMPT);
    return bundle;
  }

  /** A container's whole life, with an exec and figures, none of which may be held up. */
  async live(): Promise<void> {
    const { task } = this.shim;
    const { id } = await this.running();
    await this.shim.addExec(id, "e", ["sh", "-c", "exit 7"]);
    await task.start({ id, execId: "e" }, PROMPT);
    expect((await task.wait({ id, execId: "e" }, PROMPT)).exitStatus).toBe(7);
    await task.delete({ id, execId: "e" }, PROMPT);
    expect((await task.stats({ id }, PROMPT)).stats).toBeDefined();
    await task.kill({ id, execId: "", signal: SIGKILL, all: false }, PROMPT);
    expect((await task.wait({ id, execId: "" }, PROMPT)).exitStatus).toBe(137);
    expect((await task.delete({ id, execId: "" }, PROMPT)).exitStatus).toBe(137);
  }

  /** What containerd runs when it has lost the shim. */
  async clear(bundle: Bundle): Promise<void> {
    const { id, path } = bundle;
    const flags = ["-namespace", "live", "-address", join(this.shim.path, "c.sock"), "-id", id];
    const words = [...flags, "-bundle", path, "delete"];
    const run = await runShim(words, { cwd: path, program: [executable] });
    expect([run.exitCode, run.stderr]).toEqual([0, ""]);
  }

  /** What the runtime knows of containers. */
  runtimeState(): readonly string[] {
    const root = join(this.shim.path, "runc/live");
    return existsSync(root) ? readdirSync(root) : [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.runtime[Symbol.dispose]();
    for (const mount of listMountsBelow(this.shim.path)) {
      Bun.spawnSync(["umount", "--lazy", mount], { stdio: ["ignore", "inherit", "inherit"] });
    }
    await this.shim[Symbol.asyncDispose]();
  }
}

/** Brings a container to where a verb of the runtime can be asked for, and how to ask. */
const VERBS: Readonly<
  Record<string, (place: Place) => Promise<{ readonly bundle: Bundle; readonly ask: Ask }>>
> = {
  create: async (place) => {
    const bundle = place.bundle();
    return { bundle, ask: (options) => place.shim.task.create(place.request(bundle), options) };
  },
  start: async (place) => {
    const bundle = await place.created();
    const process = { id: bundle.id, execId: "" };
    return { bundle, ask: (options) => place.shim.task.start(process, options) };
  },
  exec: async (place) => {
    const bundle = await place.running();
    await place.shim.addExec(bundle.id, "e", ["sleep", "1000"]);
    const process = { id: bundle.id, execId: "e" };
    return { bundle, ask: (options) => place.shim.task.start(process, options) };
  },
  kill: async (place) => {
    const bundle = await place.running();
    // SIGKILL to all of a pid namespace needs no runtime.
    const request = { id: bundle.id, execId: "", signal: SIGTERM, all: true };
    return { bundle, ask: (options) => place.shim.task.kill(request, options) };
  },
  pause: async (place) => {
    const bundle = await place.running();
    return { bundle, ask: (options) => place.shim.task.pause({ id: bundle.id }, options) };
  },
  update: async (place) => {
    const bundle = await place.running();
    const resources = { typeUrl: "", value: Buffer.from("{}") };
    const request = { id: bundle.id, resources, annotations: new Map() };
    return { bundle, ask: (options) => place.shim.task.update(request, options) };
  },
  checkpoint: async (place) => {
    const bundle = await place.running();
    const request = { id: bundle.id, path: join(place.shim.path, "image"), options: undefined };
    return { bundle, ask: (options) => place.shim.task.checkpoint(request, options) };
  },
  delete: async (place) => {
    const bundle = await place.stopped();
    const process = { id: bundle.id, execId: "" };
    return { bundle, ask: (options) => place.shim.task.delete(process, options) };
  },
};

async function begin(verb: string, place: Place) {
  const prepare = VERBS[verb];
  if (prepare === undefined) throw new Error(`No such verb: ${verb}`);
  const { bundle, ask } = await prepare(place);
  place.runtime.hang(verb, bundle);
  return { bundle, id: bundle.id, ask };
}

/** What a client that waits for `call` is told when it fails. */
async function failureOf(call: Promise<unknown>): Promise<unknown> {
  return await call.then(
    () => "it succeeded",
    (error: unknown) => error,
  );
}

/** A zombie does not. */
function isRunning(pid: number): boolean {
  return /\) [^ZX]/.test(readOr(`/proc/${pid}/stat`, ""));
}

beforeAll(buildExecutable);

describe.each(Object.keys(VERBS))("a runtime that hangs in %s", (verb) => {
  test(
    "leaves State, Pids, Wait, Connect, Shutdown, new clients and other containers alone",
    async () => {
      await using place = await Place.open();
      const { task } = place.shim;
      const { bundle, id, ask } = await begin(verb, place);
      let hasEnded = false;
      const asked = failureOf(ask()).finally(() => {
        hasEnded = true;
      });
      await place.runtime.hung(verb, bundle);
      const newcomer = await place.shim.connect();
      expect(newcomer).toBeDefined();
      if (verb === "create") {
        const answer = failureOf(task.state({ id, execId: "" }, PROMPT));
        expect(await answer).toMatchObject({ reason: "notFound" });
      } else {
        const { pid, status } = await task.state({ id, execId: "" }, PROMPT);
        expect(status).not.toBe(Status.UNKNOWN);
        expect((await task.pids({ id }, PROMPT)).processes[0]?.pid).toBe(pid);
        expect((await task.connect({ id }, PROMPT)).taskPid).toBe(pid);
        const wait = failureOf(task.wait({ id, execId: "" }, { timeoutMs: SHORT_MS }));
        const isOver = verb === "delete";
        expect(await wait).toEqual(
          isOver ? "it succeeded" : expect.objectContaining({ reason: "deadlineExceeded" }),
        );
      }
      if (verb === "exec") {
        const { status, pid } = await task.state({ id, execId: "e" }, PROMPT);
        expect({ status, pid }).toEqual({ status: Status.CREATED, pid: 0 });
      }
      await place.live();
      await task.shutdown({ id, now: false }, PROMPT);
      expect(place.shim.isAlive).toBe(true);
      expect(hasEnded).toBe(false);
      place.runtime.heal(verb, bundle);
      await asked;
    },
    LIMIT_MS,
  );

  test(
    "costs a client its deadline and nothing else: asked again, it is answered, once and for all",
    async () => {
      await using place = await Place.open();
      const { bundle, id, ask } = await begin(verb, place);
      const before = place.shim.events.length;
      const late = failureOf(ask({ timeoutMs: SHORT_MS }));
      await place.runtime.hung(verb, bundle);
      expect(await late).toMatchObject({ reason: "deadlineExceeded" });
      if (["kill", "update"].includes(verb)) {
        // Each is one more of the same, and is told the same.
        place.runtime.release(verb, bundle);
        expect(await ask(PROMPT)).toEqual({});
        expect(await ask(PROMPT)).toEqual({});
        return;
      }
      // What is paused cannot be paused again, and a checkpoint wants CRIU.
      if (["pause", "checkpoint"].includes(verb)) return place.runtime.heal(verb, bundle);
      const again = ask(PROMPT);
      place.runtime.release(verb, bundle);
      const answer = await again;
      expect(answer).toMatchObject({ pid: expect.any(Number) });
      const topics = () => place.shim.events.slice(before).map(({ topic }) => topic);
      if (verb === "create") {
        expect(await ask(PROMPT)).toEqual(answer);
        await place.shim.task.start({ id, execId: "" }, PROMPT);
      }
      const told = verb === "exec" ? "/tasks/exec-started" : `/tasks/${verb}`;
      await until(`${told} is told`, () => topics().includes(told));
      if (verb !== "delete") await place.shim.remove(id);
      const gone = failureOf(place.shim.task.delete({ id, execId: "" }, PROMPT));
      expect(await gone).toMatchObject({ reason: "notFound" });
      expect(topics().filter((topic) => topic === told)).toHaveLength(1);
    },
    LIMIT_MS,
  );
});

describe("a runtime that hangs past its deadline", () => {
  test.each(Object.keys(VERBS))(
    "in %s is killed, its caller is told what hung, and what there is can be deleted",
    async (verb) => {
      // Twice as often where what is made for it takes the same verb: create, start and delete work.
      await using place = await Place.open(`${verb}=${SHORT_MS * 5}ms`);
      const { bundle, id, ask } = await begin(verb, place);
      const failure = failureOf(ask());
      const pid = await place.runtime.hung(verb, bundle);
      const error = await failure;
      expect(error).toMatchObject({ reason: "deadlineExceeded" });
      expect(String(error)).toContain(`${verb} (process ${pid}) did not finish within`);
      expect(existsSync(`/proc/${pid}`)).toBe(false);
      place.runtime.release(verb, bundle);
      if (verb !== "create") await place.shim.remove(id);
      expect(place.runtimeState()).toEqual([]);
      expect(listMountsBelow(place.shim.path)).toEqual([]);
      const left = readdirSync(bundle.path).filter((name) => name.startsWith("runtime-"));
      expect(left).toEqual([]);
      await place.live();
      await place.shim.task.shutdown({ id, now: false }, PROMPT);
      await until("the shim has ended", () => !place.shim.isAlive);
    },
    LIMIT_MS,
  );
});

describe("a shim whose runtime hangs", () => {
  test.each(Object.keys(VERBS))(
    "in %s ends on SIGTERM, and what it was making with it",
    async (verb) => {
      await using place = await Place.open();
      const { bundle, ask } = await begin(verb, place);
      const asked = failureOf(ask());
      const pid = await place.runtime.hung(verb, bundle);
      process.kill(place.shim.pid, "SIGTERM");
      await until("the shim has ended", () => !place.shim.isAlive);
      await asked;
      // What cleans up is left to do so, or left to `delete`.
      if (verb !== "kill" && verb !== "delete") expect(isRunning(pid)).toBe(false);
      if (verb === "create") expect(listMountsBelow(place.shim.path)).toEqual([]);
      place.runtime.heal(verb, bundle);
      await place.clear(bundle);
      expect(place.runtimeState()).toEqual([]);
      expect(listMountsBelow(place.shim.path)).toEqual([]);
    },
    LIMIT_MS,
  );

  // Asked to delete, the runtime would hang for `delete` as it did for the shim.
  test.each(Object.keys(VERBS).filter((verb) => verb !== "delete"))(
    "in %s and is killed leaves nothing behind after delete",
    async (verb) => {
      await using place = await Place.open();
      const { bundle, ask } = await begin(verb, place);
      const asked = failureOf(ask());
      const pid = await place.runtime.hung(verb, bundle);
      process.kill(place.shim.pid, "SIGKILL");
      await until("the shim has ended", () => !place.shim.isAlive);
      await asked;
      expect(isRunning(pid)).toBe(true);
      await place.clear(bundle);
      expect(isRunning(pid)).toBe(false);
      expect(place.runtimeState()).toEqual([]);
      expect(listMountsBelow(place.shim.path)).toEqual([]);
    },
    LIMIT_MS,
  );

  test(
    "and lives keeps it, whoever deletes the task",
    async () => {
      await using place = await Place.open();
      const { bundle, ask } = await begin("create", place);
      const asked = failureOf(ask());
      const pid = await place.runtime.hung("create", bundle);
      await place.clear(bundle);
      expect(isRunning(pid)).toBe(true);
      place.runtime.heal("create", bundle);
      await asked;
    },
    LIMIT_MS,
  );

  test.each(["pause", "update", "checkpoint"])(
    "in %s tells the end of that container, and deletes it without waiting for the runtime",
    async (verb) => {
      await using place = await Place.open();
      const { task } = place.shim;
      const { bundle, id, ask } = await begin(verb, place);
      const asked = failureOf(ask());
      await place.runtime.hung(verb, bundle);
      const refused = failureOf(task.delete({ id, execId: "" }, PROMPT));
      expect(String(await refused)).toContain("cannot delete a running process");
      const { pid } = await task.state({ id, execId: "" }, PROMPT);
      process.kill(pid, "SIGKILL");
      expect((await task.wait({ id, execId: "" }, PROMPT)).exitStatus).toBe(137);
      expect((await task.delete({ id, execId: "" }, PROMPT)).exitStatus).toBe(137);
      expect(await asked).toMatchObject({ reason: "canceled" });
      await task.shutdown({ id, now: false }, PROMPT);
      await until("the shim has ended", () => !place.shim.isAlive);
    },
    LIMIT_MS,
  );
});

test("a shim of many containers is not held up by as many hung calls", async () => {
  await using place = await Place.open();
  const bundles = await Promise.all(Array.from({ length: 8 }, () => place.running()));
  const resources = { typeUrl: "", value: Buffer.from("{}") };
  const asked = bundles.map(async (bundle) => {
    place.runtime.hang("update", bundle);
    const request = { id: bundle.id, resources, annotations: new Map() };
    return await failureOf(place.shim.task.update(request));
  });
  await Promise.all(bundles.map((bundle) => place.runtime.hung("update", bundle)));
  await place.live();
  for (const bundle of bundles) place.runtime.release("update", bundle);
  expect(await Promise.all(asked)).toEqual(bundles.map(() => "it succeeded"));
}, 60_000);
