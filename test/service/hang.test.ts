/** A runtime that hangs while or when a container ends; verb by verb: `test/integration/hung-runtime.test.ts`. */

import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { callOf, errorOf, ServicePlace } from "./kit.ts";

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
