/** A runtime that hangs, verb by verb: who is not held up, and what the caller is told. */

import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Status } from "../../src/gen/containerd/types/task/task.ts";
import type { Bundle } from "../fake/bundle.ts";
import { callOf, errorOf, ServicePlace } from "./kit.ts";

/** Brings a container to where `verb` can be asked for, and asks. */
const VERBS: Readonly<
  Record<string, (place: ServicePlace) => Promise<{ bundle: Bundle; ask: () => Promise<unknown> }>>
> = {
  create: async (place) => {
    const bundle = place.bundle();
    return { bundle, ask: () => place.service.create(place.requestFor(bundle), callOf()) };
  },
  start: async (place) => {
    const bundle = place.bundle();
    await place.service.create(place.requestFor(bundle), callOf());
    return { bundle, ask: () => place.service.start({ id: bundle.id, execId: "" }, callOf()) };
  },
  exec: async (place) => {
    const bundle = await place.running();
    await place.addExec(bundle, "e", ["true"]);
    return { bundle, ask: () => place.service.start({ id: bundle.id, execId: "e" }, callOf()) };
  },
  kill: async (place) => {
    const bundle = await place.running();
    // SIGKILL to all of a pid namespace needs no runtime.
    const request = { id: bundle.id, execId: "", signal: 15, all: true };
    return { bundle, ask: () => place.service.kill(request) };
  },
  pause: async (place) => {
    const bundle = await place.running();
    return { bundle, ask: () => place.service.pause({ id: bundle.id }) };
  },
  update: async (place) => {
    const bundle = await place.running();
    const resources = { typeUrl: "", value: Buffer.from("{}") };
    return {
      bundle,
      ask: () => place.service.update({ id: bundle.id, resources, annotations: new Map() }),
    };
  },
  checkpoint: async (place) => {
    const bundle = await place.running();
    const request = { id: bundle.id, path: place.directory, options: undefined };
    return { bundle, ask: () => place.service.checkpoint(request) };
  },
  delete: async (place) => {
    const bundle = await place.running();
    const { id } = bundle;
    const waited = place.service.wait({ id, execId: "" }, callOf());
    await place.service.kill({ id, execId: "", signal: 9, all: false });
    await waited;
    return { bundle, ask: () => place.service.delete({ id, execId: "" }, callOf()) };
  },
};

describe.each(Object.keys(VERBS))("a runtime that hangs in %s", (verb) => {
  test("holds up neither State, Pids and Wait nor another container", async () => {
    await using place = new ServicePlace();
    const other = await place.running();
    const { bundle, ask } = (await VERBS[verb]?.(place)) ?? { bundle: other, ask: async () => {} };
    place.hang(verb, bundle);
    let hasEnded = false;
    const asked = errorOf(ask()).finally(() => {
      hasEnded = true;
    });
    await place.hung(verb, bundle);
    const { id } = bundle;
    if (verb === "create") {
      expect(() => place.service.state({ id, execId: "" })).toThrow("container not created");
    } else {
      const { status, pid } = place.service.state({ id, execId: "" });
      expect(status).not.toBe(Status.UNKNOWN);
      expect(place.service.pids({ id }).processes[0]?.pid).toBe(pid);
    }
    await place.end(other);
    place.service.shutdown({ id, now: false });
    // Obeyed when the last container is gone, and never a reason to leave one alone.
    expect(place.shutdowns).toBe(0);
    expect(hasEnded).toBe(false);
    place.heal(verb, bundle);
    await asked;
  });

  test("is killed at its deadline, and the caller is told what hung", async () => {
    await using place = new ServicePlace(`${verb}=300ms`);
    const { bundle, ask } = (await VERBS[verb]?.(place)) ?? {
      bundle: place.bundle(),
      ask: async () => {},
    };
    place.hang(verb, bundle);
    const error = await errorOf(ask());
    expect(error).toMatchObject({ reason: "deadlineExceeded" });
    expect(String(error)).toMatch(
      new RegExp(`${verb} \\(process \\d+\\) did not finish within \\d+ ms and was killed`),
    );
  });
});

describe("a runtime that hangs while a container ends", () => {
  test("in start, does not keep its exit back, and the start fails", async () => {
    await using place = new ServicePlace();
    const bundle = place.bundle();
    const { id } = bundle;
    await place.service.create(place.requestFor(bundle), callOf());
    place.hang("start", bundle);
    const started = errorOf(place.service.start({ id, execId: "" }, callOf()));
    await place.hung("start", bundle);
    const waited = place.service.wait({ id, execId: "" }, callOf());
    await place.service.kill({ id, execId: "", signal: 9, all: false });
    expect((await waited).exitStatus).toBe(137);
    expect(await started).toMatchObject({ reason: "canceled" });
    expect(place.topics).toEqual(["/tasks/create", "/tasks/exit"]);
    await place.service.delete({ id, execId: "" }, callOf());
    expect(place.topics.at(-1)).toBe("/tasks/delete");
  });

  test("in exec, does not keep its exit back", async () => {
    await using place = new ServicePlace();
    const bundle = await place.running();
    const { id } = bundle;
    await place.addExec(bundle, "e", ["true"]);
    place.hang("exec", bundle);
    const started = errorOf(place.service.start({ id, execId: "e" }, callOf()));
    await place.hung("exec", bundle);
    await place.end(bundle);
    expect(await started).toMatchObject({ reason: "canceled" });
    expect(place.topics.at(-2)).toBe("/tasks/exit");
  });
});

describe("a runtime that hangs at the end of a container", () => {
  /** Without a pid namespace of its own: the runtime is asked to kill what init leaves. */
  const namespaces = ["mount", "ipc", "uts", "network"].map((type) => ({ type }));

  /** Creates, starts and ends another container, which must not be held up. */
  async function liveBeside(place: ServicePlace): Promise<void> {
    const other = await place.running();
    const { id } = other;
    await place.addExec(other, "e", ["sh", "-c", "exit 3"]);
    await place.service.start({ id, execId: "e" }, callOf());
    expect((await place.service.wait({ id, execId: "e" }, callOf())).exitStatus).toBe(3);
    await place.end(other);
  }

  test("in the kill of what init leaves delays that exit to its deadline, and no other's", async () => {
    await using place = new ServicePlace("kill=4s");
    const bundle = place.bundle({ args: ["sleep", "1000"], namespaces });
    const { id } = bundle;
    await place.service.create(place.requestFor(bundle), callOf());
    await place.service.start({ id, execId: "" }, callOf());
    place.hang("kill", bundle);
    const waited = place.service.wait({ id, execId: "" }, callOf());
    const { pid } = place.service.state({ id, execId: "" });
    const killedAtMs = Date.now();
    process.kill(pid, "SIGKILL");
    await place.hung("kill", bundle);
    await liveBeside(place);
    expect(place.service.state({ id, execId: "" }).pid).toBe(pid);
    const { exitStatus, exitedAt } = await waited;
    expect(exitStatus).toBe(137);
    // When it ended, not when that could be told.
    expect(Number(exitedAt?.seconds) * 1000 - killedAtMs).toBeLessThan(2500);
    expect(Date.now() - killedAtMs).toBeGreaterThan(3500);
    place.release("kill", bundle);
    await place.service.delete({ id, execId: "" }, callOf());
  });

  test("in the thaw of what was paused delays no exit", async () => {
    await using place = new ServicePlace("resume=4s");
    const bundle = await place.running();
    const { id } = bundle;
    await place.service.pause({ id });
    place.hang("resume", bundle);
    const waited = place.service.wait({ id, execId: "" }, callOf());
    await place.service.kill({ id, execId: "", signal: 9, all: false });
    expect((await waited).exitStatus).toBe(137);
    expect(place.topics).toContain("/tasks/exit");
    await place.hung("resume", bundle);
    await liveBeside(place);
    place.heal("resume", bundle);
    await place.service.delete({ id, execId: "" }, callOf());
  });
});

describe("a Delete", () => {
  test("does not wait for a runtime that hangs in a pause, and in the thaw of it too", async () => {
    await using place = new ServicePlace("resume=45s");
    const bundle = await place.running();
    const { id } = bundle;
    place.hang("pause", bundle);
    place.hang("resume", bundle);
    const paused = errorOf(place.service.pause({ id }));
    await place.hung("pause", bundle);
    process.kill(place.service.state({ id, execId: "" }).pid, "SIGKILL");
    await place.service.wait({ id, execId: "" }, callOf());
    const askedAtMs = performance.now();
    await place.service.delete({ id, execId: "" }, callOf());
    expect(performance.now() - askedAtMs).toBeLessThan(30_000);
    expect(await paused).toMatchObject({ reason: "canceled" });
  }, 60_000);

  test("leaves no runtime process that could signal or thaw the next container of that name", async () => {
    await using place = new ServicePlace();
    const bundle = await place.running();
    const { id } = bundle;
    place.hang("kill", bundle);
    const killed = errorOf(place.service.kill({ id, execId: "", signal: 15, all: true }));
    const killer = await place.hung("kill", bundle);
    await place.service.pause({ id });
    place.hang("resume", bundle);
    const { pid } = place.service.state({ id, execId: "" });
    const waited = place.service.wait({ id, execId: "" }, callOf());
    process.kill(pid, "SIGKILL");
    // Where SIGKILL leaves what is frozen alone.
    Bun.spawnSync(["runc", "--root", join(place.directory, "root"), "resume", id]);
    await waited;
    const thawer = await place.hung("resume", bundle);
    expect([killer, thawer].map((each) => existsSync(`/proc/${each}`))).toEqual([true, true]);
    await place.service.delete({ id, execId: "" }, callOf());
    expect(await killed).toMatchObject({ reason: "canceled" });
    while ([killer, thawer].some((each) => existsSync(`/proc/${each}`))) await Bun.sleep(5);
  });
});

test("a start of an exec that hangs is given up by SIGKILL", async () => {
  await using place = new ServicePlace();
  const bundle = await place.running();
  const { id } = bundle;
  await place.addExec(bundle, "e", ["true"]);
  place.hang("exec", bundle);
  const started = errorOf(place.service.start({ id, execId: "e" }, callOf()));
  await place.hung("exec", bundle);
  const kill = (signal: number) => place.service.kill({ id, execId: "e", signal, all: false });
  expect(await errorOf(kill(15))).toMatchObject({ reason: "failedPrecondition" });
  await kill(9);
  expect(await started).toMatchObject({ reason: "canceled" });
  expect((await place.service.wait({ id, execId: "e" }, callOf())).exitStatus).toBe(255);
  await place.service.delete({ id, execId: "e" }, callOf());
  await place.end(bundle);
});
