/** What holds at the instant at which something is reported, and what a call leaves unchanged. */

import { describe, expect, spyOn, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { Container } from "../../src/container/container.ts";
import { Status } from "../../src/gen/containerd/types/task/task.ts";
import { Poller, type Watch } from "../../src/linux/poller.ts";
import { listMountsBelow } from "../fake/bundle.ts";
import { callOf, errorOf, ServicePlace } from "./kit.ts";

const LIMIT_MS = 30_000;

/** Forgets the processes that it is asked to watch while it is deaf. */
class DeafPoller extends Poller {
  isDeaf = false;

  override watch(...asked: Parameters<Poller["watch"]>): Watch {
    const isProcess = readlinkSync(`/proc/self/fd/${asked[0]}`).includes("pidfd");
    if (!this.isDeaf || !isProcess) return super.watch(...asked);
    return { modify: () => {}, [Symbol.dispose]: () => {} };
  }
}

test("an exit is told, whatever the cgroup's files say", async () => {
  await using place = new ServicePlace();
  const bundle = await place.running();
  const { id } = bundle;
  using look = spyOn(Container.prototype, "lookForLastOom");
  look.mockRejectedValueOnce(new Error("read: i/o error"));
  const waited = place.service.wait({ id, execId: "" }, callOf());
  await place.service.kill({ id, execId: "", signal: 9, all: false });
  expect(await waited).toMatchObject({ exitStatus: 137 });
  expect(look).toHaveBeenCalled();
  await place.service.delete({ id, execId: "" }, callOf());
  expect(place.topics.slice(-2)).toEqual(["/tasks/exit", "/tasks/delete"]);
});

describe("an exit", () => {
  test("is on disk, as it is told, before its event is published and Wait is answered", async () => {
    await using place = new ServicePlace();
    const bundle = place.bundle({ script: "exit 42" });
    const { id } = bundle;
    const record = () => readFileSync(join(bundle.path, "exit.json"), "utf8");
    const seen: string[] = [];
    place.onEvent = ({ topic }) => {
      const isThere = existsSync(join(bundle.path, "exit.json"));
      seen.push(`${topic} ${isThere ? JSON.parse(record()).exitStatus : "-"}`);
    };
    await place.service.create(place.requestFor(bundle), callOf());
    const waited = place.service.wait({ id, execId: "" }, callOf()).then(({ exitStatus }) => {
      seen.push(`Wait ${JSON.parse(record()).exitStatus}`);
      return exitStatus;
    });
    await place.service.start({ id, execId: "" }, callOf());
    expect(await waited).toBe(42);
    await place.service.delete({ id, execId: "" }, callOf());
    expect(seen.slice(0, 2)).toEqual(["/tasks/create -", "/tasks/start -"]);
    expect(seen.slice(2, 4).sort()).toEqual(["/tasks/exit 42", "Wait 42"]);
    expect(seen.slice(4)).toEqual(["/tasks/delete 42"]);
  });

  test.each([
    ["State", (place: ServicePlace, id: string) => place.service.state({ id, execId: "" })],
    ["Pids", (place: ServicePlace, id: string) => place.service.pids({ id })],
    ["Wait", (place: ServicePlace, id: string) => place.service.wait({ id, execId: "" }, callOf())],
  ])(
    "of which neither SIGCHLD nor the kernel's descriptor told is found by the next %s",
    async (_name, ask) => {
      const poller = new DeafPoller();
      await using place = new ServicePlace("", poller);
      const bundle = place.bundle({ args: ["sleep", "1000"] });
      const { id } = bundle;
      place.hang("create", bundle);
      const created = place.service.create(place.requestFor(bundle), callOf());
      await place.hung("create", bundle);
      poller.isDeaf = true;
      place.release("create", bundle);
      const { pid } = await created;
      poller.isDeaf = false;
      await place.service.start({ id, execId: "" }, callOf());
      const told = Promise.withResolvers<void>();
      place.onEvent = ({ topic }) => topic === "/tasks/exit" && told.resolve();
      const listeners = process.listeners("SIGCHLD");
      process.removeAllListeners("SIGCHLD");
      try {
        // Of a program with threads, as the runtime's is until then, the first is dead before the others.
        while (readFileSync(`/proc/${pid}/comm`, "utf8") !== "sleep\n") await Bun.sleep(2);
        process.kill(pid, "SIGKILL");
        while (!/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))) await Bun.sleep(2);
        expect(place.topics).not.toContain("/tasks/exit");
        await ask(place, id);
        await told.promise;
      } finally {
        for (const listener of listeners) process.on("SIGCHLD", listener);
      }
      expect(place.service.state({ id, execId: "" })).toMatchObject({
        status: Status.STOPPED,
        exitStatus: 137,
      });
      await place.service.delete({ id, execId: "" }, callOf());
    },
    LIMIT_MS,
  );
});

test(
  "an OOM kill in the instant of the start is told between TaskStart and TaskExit",
  async () => {
    await using place = new ServicePlace();
    const bundle = place.bundle({
      script: "tail /dev/zero",
      resources: { memory: { limit: 24 * 1024 * 1024 } },
    });
    const { id } = bundle;
    const { pid } = await place.service.create(place.requestFor(bundle), callOf());
    place.hang("after-start", bundle);
    const started = place.service.start({ id, execId: "" }, callOf());
    await place.hung("after-start", bundle);
    const memory = join("/sys/fs/cgroup/memory", bundle.cgroupsPath, "memory.oom_control");
    const kills = () =>
      existsSync(memory) ? /oom_kill (\d+)/.exec(readFileSync(memory, "utf8"))?.[1] : undefined;
    // On v2 the cgroup goes with its last process, and with it the count.
    while (existsSync(`/proc/${pid}/exe`) && (kills() ?? "0") === "0") await Bun.sleep(5);
    await Bun.sleep(300);
    expect(place.topics).toEqual(["/tasks/create"]);
    place.release("after-start", bundle);
    await started;
    await place.service.wait({ id, execId: "" }, callOf());
    while (!place.topics.includes("/tasks/exit")) await Bun.sleep(5);
    const told = place.topics.filter((topic, index) => topic !== place.topics[index - 1]);
    expect(told).toEqual(["/tasks/create", "/tasks/start", "/tasks/oom", "/tasks/exit"]);
    await place.service.delete({ id, execId: "" }, callOf());
  },
  LIMIT_MS,
);

test("Create of a container that is there touches neither its mounts nor its files", async () => {
  await using place = new ServicePlace();
  const bundle = await place.running();
  const { id } = bundle;
  const [hidden, layer] = [join(place.directory, "hidden"), join(place.directory, "layer")];
  for (const directory of [hidden, layer]) mkdirSync(directory);
  const files = () =>
    readdirSync(bundle.path, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => `${name} ${readFileSync(join(bundle.path, name), "utf8")}`)
      .sort();
  const [before, mounts] = [files(), listMountsBelow(bundle.path)];
  const again = place.service.create(
    {
      ...place.requestFor(bundle),
      stdout: join(hidden, "out"),
      rootfs: [{ type: "bind", source: layer, target: "", options: ["rbind", "rw"] }],
    },
    callOf(),
  );
  expect(await errorOf(again)).toMatchObject({ reason: "alreadyExists" });
  expect([files(), listMountsBelow(bundle.path)]).toEqual([before, mounts]);
  expect(readdirSync(join(bundle.rootfs, "bin")).length).toBeGreaterThan(0);
  expect(place.service.state({ id, execId: "" }).status).toBe(Status.RUNNING);
  await place.end(bundle);
});

test("execs leave no file in the bundle, whether they run, fail or are given up", async () => {
  await using place = new ServicePlace();
  const bundle = await place.running();
  const { id } = bundle;
  const before = readdirSync(bundle.path).sort();
  for (const args of [["true"], ["/no/such/program"], ["true"]]) {
    await place.addExec(bundle, "e", args);
    await place.service.start({ id, execId: "e" }, callOf()).catch(() => {});
    await place.service.wait({ id, execId: "e" }, callOf());
    await place.service.delete({ id, execId: "e" }, callOf());
  }
  await place.addExec(bundle, "e", ["true"]);
  place.hang("exec", bundle);
  const started = errorOf(place.service.start({ id, execId: "e" }, callOf()));
  await place.hung("exec", bundle);
  await place.service.kill({ id, execId: "e", signal: 9, all: false });
  await started;
  // What has never run has an end like any other, not a status of nought at no time.
  const { exitStatus, exitedAt } = await place.service.wait({ id, execId: "e" }, callOf());
  expect(exitStatus).toBe(255);
  expect(Number(exitedAt?.seconds)).toBeGreaterThan(1_700_000_000);
  expect(place.service.state({ id, execId: "e" })).toMatchObject({
    status: Status.STOPPED,
    exitStatus: 255,
  });
  await place.service.delete({ id, execId: "e" }, callOf());
  expect(readdirSync(bundle.path).sort()).toEqual(before);
  await place.end(bundle);
});

test(
  "Create with a logger that never says that it is ready fails by name, holds up nobody, and leaves nothing",
  async () => {
    await using place = new ServicePlace();
    const bundle = place.bundle();
    const { id } = bundle;
    const stdout = "binary:///bin/sh?-c=exec%20sleep%201000";
    const request = { ...place.requestFor(bundle), stdout };
    let hasEnded = false;
    const failed = errorOf(place.service.create(request, callOf())).finally(() => {
      hasEnded = true;
    });
    await place.end(await place.running());
    expect(hasEnded).toBe(false);
    expect(String(await failed)).toContain("Logging binary /bin/sh was not ready within");
    expect(() => place.service.state({ id, execId: "" })).toThrow("container not created");
    expect(existsSync(join(place.directory, "root", id))).toBe(false);
    const { pid } = await place.service.create(place.requestFor(bundle), callOf());
    expect(pid).toBeGreaterThan(0);
  },
  LIMIT_MS,
);
