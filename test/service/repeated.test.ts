/** Calls repeated because their client did not learn how they ended, over real runc. */

import { describe, expect, setSystemTime, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { NO_TIME } from "../../src/event/timestamp.ts";
import { StartRequest } from "../../src/gen/containerd/task/v2/task.ts";
import { Status } from "../../src/gen/containerd/types/task/task.ts";
import { Retries } from "../../src/service/retries.ts";
import { type Bundle, makeBusyboxRootfs } from "../fake/bundle.ts";
import { callOf, errorOf, ServicePlace } from "./kit.ts";

/** Asks with a client that leaves while the runtime hangs in `verb`, then lets the runtime go on. */
async function askAndLeave<T>(
  place: ServicePlace,
  verb: string,
  bundle: Bundle,
  ask: (call: ReturnType<typeof callOf>) => Promise<T>,
): Promise<T> {
  const client = new AbortController();
  place.hang(verb, bundle);
  const asked = ask(callOf(client.signal));
  await place.hung(verb, bundle);
  client.abort();
  place.release(verb, bundle);
  return await asked;
}

async function stopped(place: ServicePlace): Promise<Bundle> {
  const bundle = await place.running();
  const { id } = bundle;
  const waited = place.service.wait({ id, execId: "" }, callOf());
  await place.service.kill({ id, execId: "", signal: 9, all: false });
  await waited;
  return bundle;
}

describe("Create", () => {
  test("whose client left is answered when it comes again; another of that id is refused", async () => {
    await using place = new ServicePlace();
    const bundle = place.bundle();
    const request = place.requestFor(bundle);
    const create = (call: ReturnType<typeof callOf>) => place.service.create(request, call);
    const { pid } = await askAndLeave(place, "create", bundle, create);
    expect(await create(callOf())).toEqual({ pid });
    expect(await create(callOf())).toEqual({ pid });
    const other = place.service.create({ ...request, terminal: true }, callOf());
    expect(await errorOf(other)).toMatchObject({ reason: "alreadyExists" });
    expect(place.topics).toEqual(["/tasks/create"]);
    await place.service.start({ id: bundle.id, execId: "" }, callOf());
    expect(await errorOf(create(callOf()))).toMatchObject({ reason: "alreadyExists" });
  });

  test("that comes again while it runs is carried out once", async () => {
    await using place = new ServicePlace();
    const bundle = place.bundle();
    const request = place.requestFor(bundle);
    place.hang("create", bundle);
    const first = place.service.create(request, callOf());
    await place.hung("create", bundle);
    const second = place.service.create(request, callOf());
    place.release("create", bundle);
    expect(await second).toEqual(await first);
    expect(place.topics).toEqual(["/tasks/create"]);
  });

  test("is given up by a Delete, with nothing left", async () => {
    await using place = new ServicePlace();
    const bundle = place.bundle();
    const { id } = bundle;
    place.hang("create", bundle);
    const created = errorOf(place.service.create(place.requestFor(bundle), callOf()));
    await place.hung("create", bundle);
    const deleted = errorOf(place.service.delete({ id, execId: "" }, callOf()));
    expect(await deleted).toMatchObject({ reason: "notFound" });
    expect(await created).toMatchObject({ reason: "canceled" });
    expect(place.topics).toEqual([]);
    expect(place.empties).toBe(1);
    expect(existsSync(join(place.directory, "root", id))).toBe(false);
    place.release("create", bundle);
    expect((await place.service.create(place.requestFor(bundle), callOf())).pid).toBeGreaterThan(0);
  });

  test("that fails after Shutdown was asked for ends the shim", async () => {
    await using place = new ServicePlace();
    const bundle = place.bundle();
    place.hang("create", bundle);
    const created = errorOf(place.service.create(place.requestFor(bundle), callOf()));
    await place.hung("create", bundle);
    place.service.shutdown({ id: bundle.id, now: false });
    expect(place.shutdowns).toBe(0);
    place.heal("create", bundle);
    await created;
    expect(place.shutdowns).toBe(1);
  });
});

describe("Exec and Start", () => {
  test("Exec again is answered until its Start; another of that id is refused", async () => {
    await using place = new ServicePlace();
    const bundle = await place.running();
    await place.addExec(bundle, "e", ["true"]);
    await place.addExec(bundle, "e", ["true"]);
    const other = place.addExec(bundle, "e", ["false"]);
    expect(await errorOf(other)).toMatchObject({ reason: "alreadyExists" });
    expect(place.topics.filter((topic) => topic === "/tasks/exec-added")).toHaveLength(1);
    await place.service.start({ id: bundle.id, execId: "e" }, callOf());
    const late = place.addExec(bundle, "e", ["true"]);
    expect(await errorOf(late)).toMatchObject({ reason: "alreadyExists" });
  });

  test.each(["", "e"])(
    "Start of %j whose client left is answered when it comes again",
    async (execId) => {
      await using place = new ServicePlace();
      const bundle =
        execId === "" ? place.bundle({ args: ["sleep", "1000"] }) : await place.running();
      const { id } = bundle;
      if (execId === "") await place.service.create(place.requestFor(bundle), callOf());
      else await place.addExec(bundle, execId, ["sleep", "1000"]);
      const start = (call: ReturnType<typeof callOf>) => place.service.start({ id, execId }, call);
      const { pid } = await askAndLeave(place, execId === "" ? "start" : "exec", bundle, start);
      expect(await start(callOf())).toEqual({ pid });
      expect(String(await errorOf(start(callOf())))).toContain("cannot start a running process");
      const topic = execId === "" ? "/tasks/start" : "/tasks/exec-started";
      expect(place.topics.filter((one) => one === topic)).toHaveLength(1);
    },
  );

  test("Start of an exec that failed fails again, with the same words", async () => {
    await using place = new ServicePlace();
    const bundle = await place.running();
    await place.addExec(bundle, "e", ["/no/such/program"]);
    const start = () => errorOf(place.service.start({ id: bundle.id, execId: "e" }, callOf()));
    const first = String(await start());
    expect(first).toContain("no such file or directory");
    expect(String(await start())).toBe(first);
    // As the stock shim has it, whoever waits for it is let go.
    const exec = { id: bundle.id, execId: "e" };
    const state = place.service.state(exec);
    expect(state).toMatchObject({ status: Status.CREATED, pid: 0, exitStatus: 0 });
    expect(state.exitedAt).toEqual(NO_TIME);
    expect((await place.service.wait(exec, callOf())).exitStatus).toBe(255);
    await place.service.delete(exec, callOf());
  });
});

describe("Kill", () => {
  test("of what has ended says so each time", async () => {
    await using place = new ServicePlace();
    const { id } = await stopped(place);
    for (let count = 0; count < 2; count++) {
      const killed = place.service.kill({ id, execId: "", signal: 9, all: false });
      expect(await errorOf(killed)).toMatchObject({
        reason: "notFound",
        message: "process already finished",
      });
    }
  });
});

describe("Delete", () => {
  test("whose client left goes on; the task is there as stopped until somebody is told", async () => {
    await using place = new ServicePlace();
    const bundle = await stopped(place);
    const { id } = bundle;
    const before = place.service.state({ id, execId: "" });
    const remove = (call: ReturnType<typeof callOf>) =>
      place.service.delete({ id, execId: "" }, call);
    const answer = await askAndLeave(place, "delete", bundle, remove);
    expect(answer).toMatchObject({ pid: before.pid, exitStatus: 137 });
    expect(place.service.size).toBe(0);
    expect(place.service.state({ id, execId: "" })).toEqual(before);
    expect(before).toMatchObject({ status: Status.STOPPED, exitStatus: 137 });
    expect(place.service.pids({ id }).processes).toMatchObject([{ pid: before.pid }]);
    expect(await place.service.wait({ id, execId: "" }, callOf())).toMatchObject({
      exitStatus: 137,
    });
    expect(place.service.connect({ id }).taskPid).toBe(before.pid);
    expect(await remove(callOf())).toEqual(answer);
    expect(await errorOf(remove(callOf()))).toMatchObject({ reason: "notFound" });
    expect(() => place.service.state({ id, execId: "" })).toThrow("container not created");
    expect(place.topics.filter((topic) => topic === "/tasks/delete")).toHaveLength(1);
    place.service.shutdown({ id, now: false });
    expect(place.shutdowns).toBe(1);
  });

  test("that comes again while it runs is carried out once", async () => {
    await using place = new ServicePlace();
    const bundle = await stopped(place);
    const { id } = bundle;
    place.hang("delete", bundle);
    const first = place.service.delete({ id, execId: "" }, callOf());
    await place.hung("delete", bundle);
    const second = place.service.delete({ id, execId: "" }, callOf());
    place.release("delete", bundle);
    expect(await second).toEqual(await first);
    expect(place.topics.filter((topic) => topic === "/tasks/delete")).toHaveLength(1);
  });

  test("that nobody was told of does not stand in the way of a new task of that id", async () => {
    await using place = new ServicePlace();
    const bundle = await stopped(place);
    const { id } = bundle;
    const remove = (call: ReturnType<typeof callOf>) =>
      place.service.delete({ id, execId: "" }, call);
    await askAndLeave(place, "delete", bundle, remove);
    await place.service.create(place.requestFor(bundle), callOf());
    expect(place.service.state({ id, execId: "" }).status).toBe(Status.CREATED);
    expect((await remove(callOf())).exitStatus).toBe(137);
  });

  test("of a rootfs in use is refused, may come again, and costs no file of a layer", async () => {
    await using place = new ServicePlace();
    const bundle = place.bundle({ rootfs: "empty" });
    const { id } = bundle;
    const layer = join(place.directory, "layer");
    mkdirSync(layer);
    makeBusyboxRootfs(layer);
    const files = readdirSync(join(layer, "bin")).length;
    const mount = { type: "bind", source: layer, target: "", options: ["rbind", "rw"] };
    await place.service.create({ ...place.requestFor(bundle), rootfs: [mount] }, callOf());
    const user = place.children.spawn({
      argv: ["/bin/sleep", "1000"],
      env: [],
      cwd: bundle.rootfs,
      stdio: [undefined, undefined, undefined],
    });
    const remove = () => place.service.delete({ id, execId: "" }, callOf());
    const error = await errorOf(remove());
    expect(error).toMatchObject({ reason: "failedPrecondition" });
    expect(String(error)).toContain("a process still works in it");
    expect(place.service.state({ id, execId: "" }).status).toBe(Status.STOPPED);
    user.signal(9);
    await user.exited;
    expect((await remove()).exitStatus).toBe(137);
    expect(readdirSync(join(layer, "bin"))).toHaveLength(files);
    expect(readdirSync(bundle.rootfs)).toEqual([]);
    expect(place.topics).toEqual(["/tasks/create", "/tasks/exit", "/tasks/delete"]);
  });
});

describe("Retries", () => {
  const gone = AbortSignal.abort();
  const here = new AbortController().signal;
  const open = (now: () => number) =>
    new Retries<StartRequest, number>({
      codec: StartRequest,
      keyOf: (request) => request,
      keeps: "untaken",
      now,
    });

  test("an answer is kept for a bounded time", async () => {
    let nowMs = 0;
    const calls = open(() => nowMs);
    const request = { id: "c", execId: "" };
    await calls.run(request, gone, async () => 1);
    nowMs = 9 * 60_000;
    expect(calls.find(request)?.answer).toBe(1);
    nowMs = 10 * 60_000;
    expect(calls.find(request)).toBeUndefined();
    expect(await calls.run(request, here, async () => 2)).toBe(2);
    expect(calls.kept).toEqual([]);
  });

  test("an answer grows no older by a clock that is set, and keeps its age when handed over", async () => {
    let nowMs = 0;
    const calls = open(() => nowMs);
    const request = { id: "c", execId: "" };
    await calls.run(request, gone, async () => 1);
    setSystemTime(new Date(Date.now() + 86_400_000));
    try {
      expect(calls.find(request)?.answer).toBe(1);
      nowMs = 9 * 60_000;
      const successor = open(() => nowMs);
      successor.restore(calls.kept);
      expect(successor.find(request)?.answer).toBe(1);
      nowMs += 2 * 60_000;
      expect(successor.find(request)).toBeUndefined();
    } finally {
      setSystemTime();
    }
  });

  test("only so many are kept, and they can be handed over", async () => {
    const calls = open(() => 0);
    for (let count = 0; count < 100; count++)
      await calls.run({ id: `c${count}`, execId: "" }, gone, async () => count);
    expect(calls.kept.map(({ answer }) => answer)).toEqual(
      Array.from({ length: 64 }, (_, index) => index + 36),
    );
    const successor = open(() => 0);
    successor.restore(calls.kept);
    expect(await successor.run({ id: "c99", execId: "" }, here, async () => -1)).toBe(99);
  });

  test("a failure is told to all who wait, and is not kept", async () => {
    const calls = open(() => 0);
    const request = { id: "c", execId: "" };
    const { promise, reject } = Promise.withResolvers<number>();
    const waiting = [here, here].map((signal) =>
      errorOf(calls.run(request, signal, () => promise)),
    );
    reject(new Error("no"));
    expect((await Promise.all(waiting)).map(String)).toEqual(["Error: no", "Error: no"]);
    expect(await calls.run(request, here, async () => 3)).toBe(3);
  });
});
