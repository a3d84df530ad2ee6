/**
 * What survives a shim that is killed, over real runc: the status that it has told, and the events that
 * nobody has taken. The manager is the events service alone, so that it can be absent or hang.
 */

import { afterAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { TaskExit } from "../../src/gen/containerd/events/task.ts";
import { daemonsOf, readOr, until } from "../command/shim-process.ts";
import { EventsService } from "../fake/events-service.ts";
import { descriptorsOf } from "./live-shim.ts";
import { ShimPlace } from "./shim-place.ts";

/** More of them by hand: the moment between an exit and its report is short. */
const TRIES = Number(process.env["WEDGE_TRIES"] ?? 6);
/** How long a shim waits for a manager to take one event. */
const ATTEMPT_MS = 5000;
/** For each of them: a shim, a container, and `delete`. */
const TRY_LIMIT_MS = 20_000;
/** The sleeper is built by a C compiler; without one a shim never sleeps. */
const canSleep = Bun.which("cc") !== null;

describe("a shim that is killed", () => {
  let place: ShimPlace | undefined;
  afterAll(async () => await place?.[Symbol.asyncDispose]());

  test.each(["its TaskExit was taken", "Wait was answered"])(
    "at the moment when %s has told nothing that delete does not know",
    async (moment) => {
      place ??= new ShimPlace();
      await using manager = new EventsService(place.ttrpc);
      for (let count = 0; count < TRIES; count++) {
        const before = manager.taken.length;
        const { id, client, task, shimPid, created } = await place.create(`exit ${count + 1}`);
        await created;
        const waited = task.wait({ id, execId: "" });
        waited.catch(() => {}); // It may end with the shim, before anybody looks.
        await task.start({ id, execId: "" });
        if (moment === "Wait was answered") expect((await waited).exitStatus).toBe(count + 1);
        else await manager.received(before + 3);
        await place.kill(shimPid, "SIGKILL");
        await waited.catch(() => {});
        client.close();
        const told = TaskExit.decode(manager.taken.at(-1)?.event?.value ?? new Uint8Array());
        const answer = await place.delete(id);
        expect(answer.exitStatus).toBe(count + 1);
        if (moment !== "Wait was answered") {
          expect(answer).toMatchObject({ pid: told.pid, exitStatus: told.exitStatus });
          expect(answer.exitedAt?.seconds).toBe(told.exitedAt?.seconds ?? -1n);
        }
      }
    },
    TRIES * TRY_LIMIT_MS,
  );

  test.each(["SIGKILL", "SIGTERM"] as const)(
    "by %s while its manager is away leaves its events to delete, in order",
    async (signal) => {
      await using away = new ShimPlace();
      const { id, bundle, client, task, shimPid, created } = await away.create("exit 7");
      await created;
      await task.start({ id, execId: "" });
      await task.wait({ id, execId: "" });
      const journal = join(bundle.path, "events.journal");
      await until(() => readOr(journal, "").includes("/tasks/exit"));
      await away.kill(shimPid, signal);
      client.close();
      await using manager = new EventsService(away.ttrpc);
      expect(await away.delete(id)).toMatchObject({ exitStatus: 7 });
      expect(manager.topics).toEqual(["/tasks/create", "/tasks/start", "/tasks/exit"]);
      expect(existsSync(journal)).toBe(false);
    },
  );
});

describe("a shim that lives, and is taken for dead", () => {
  // As by default: it checks before it sleeps again.
  const asleep = canSleep ? [["asleep", "5"] as const] : [];
  test.each([["awake", "0"] as const, ...asleep])(
    "%s, ends when its container is cleared and its bundle removed",
    async (_, seconds) => {
      await using place = new ShimPlace({ WEDGE_SLEEP_AFTER_SECONDS: seconds });
      await using manager = new EventsService(place.ttrpc);
      const { id, bundle, address, client, task, shimPid, created } =
        await place.create("sleep 99");
      await created;
      await task.start({ id, execId: "" });
      client.close();
      await manager.received(2);
      if (seconds !== "0") await until(() => sleepTableOf(shimPid) !== undefined);
      rmSync(address);
      expect((await place.delete(id)).exitStatus).toBe(137);
      rmSync(bundle.path, { recursive: true });
      await until(() => !daemonsOf(place.namespace).includes(shimPid));
    },
    60_000,
  );

  test.if(canSleep)(
    "wakes up for it only without a manager, with a container that has ended",
    async () => {
      await using place = new ShimPlace({ WEDGE_SLEEP_AFTER_SECONDS: "0.1" });
      await using manager = new EventsService(place.ttrpc);
      const { id, client, task, shimPid, created } = await place.create("sleep 99");
      await created;
      await task.start({ id, execId: "" });
      const secondsOf = () => sleepTableOf(shimPid)?.readBigInt64LE(16);
      await until(() => secondsOf() === -1n);
      await task.kill({ id, execId: "", signal: 9, all: false });
      await task.wait({ id, execId: "" });
      await manager.received(3);
      await until(() => secondsOf() === -1n);
      client.close();
      await until(() => (secondsOf() ?? 0n) > 500n);
    },
    60_000,
  );
});

/** What a sleeper waits for (`src/handoff/sleeper.ts`); undefined if it is awake. */
function sleepTableOf(pid: number): Buffer | undefined {
  try {
    if (!readlinkSync(`/proc/${pid}/exe`).startsWith("/memfd:wedge-sleeper")) return undefined;
    const found = [...descriptorsOf(pid)].find(([, name]) => name.includes("wedge-sleep-table"));
    return found && readFileSync(`/proc/${pid}/fd/${found[0]}`);
  } catch {
    return undefined; // It has just woken up.
  }
}

describe("a shim whose manager hangs", () => {
  test("answers, tells the exit of its container, and keeps its events", async () => {
    await using place = new ShimPlace();
    await using manager = new EventsService(place.ttrpc);
    manager.isHung = true;
    const { id, bundle, client, task, created } = await place.create("exit 9");
    await created;
    await task.start({ id, execId: "" });
    expect((await task.wait({ id, execId: "" })).exitStatus).toBe(9);
    expect((await task.delete({ id, execId: "" })).exitStatus).toBe(9);
    expect(manager.taken).toEqual([]);
    const journal = join(bundle.path, "events.journal");
    await until(() => readOr(journal, "").includes("/tasks/delete"));
    client.close();
  });
});

describe("a manager that hangs for longer than a shim tries", () => {
  test("and then answers has every event of what lived meanwhile, in order", async () => {
    await using place = new ShimPlace();
    await using manager = new EventsService(place.ttrpc);
    manager.isHung = true;
    const { id, bundle, client, task, created } = await place.create("exit 9");
    const process = { id, execId: "" };
    await created;
    await task.start(process);
    await task.wait(process);
    await task.delete(process);
    await Bun.sleep(2 * ATTEMPT_MS + 1000);
    expect(manager.taken).toEqual([]);
    manager.isHung = false;
    await manager.received(4);
    const told = manager.topics.filter((topic, index, all) => topic !== all[index - 1]);
    expect(told).toEqual(["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]);
    await until(() => !existsSync(join(bundle.path, "events.journal")));
    await task.shutdown({ id, now: false });
    client.close();
  }, 60_000);
});

describe("a shim whose runtime hangs", () => {
  test("ends on SIGTERM all the same, and the runtime with it", async () => {
    await using place = new ShimPlace();
    mkdirSync(join(place.path, "bin"));
    const wrapper = join(place.path, "bin", "runtime");
    const hung = join(place.path, "hung");
    writeFileSync(wrapper, `#!/bin/sh\necho $$ > ${hung}\nexec sleep 1000\n`);
    chmodSync(wrapper, 0o755);
    const { client, shimPid, created } = await place.create("true", { binaryName: wrapper });
    created.catch(() => {});
    await until(() => readOr(hung, "").includes("\n"));
    await place.kill(shimPid, "SIGTERM");
    client.close();
    const pid = Number(readFileSync(hung, "utf8"));
    expect(readOr(`/proc/${pid}/stat`, "")).not.toMatch(/\) [^ZX]/);
  });
});
