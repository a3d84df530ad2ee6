/** Containers that are cleaned up behind the shim's back, and those that only look like it. */

import { expect, test } from "bun:test";
import { existsSync, renameSync } from "node:fs";
import { join } from "node:path";
import type { Bundle } from "../fake/bundle.ts";
import { withoutDescriptors } from "../linux/no-descriptors.ts";
import { callOf, errorOf, ServicePlace } from "./kit.ts";

/** What `delete` and its manager do to a task whose shim they take for dead; here the bundle is only moved away. */
async function clear(place: ServicePlace, { id, path }: Bundle): Promise<void> {
  const ended = place.service.wait({ id, execId: "" }, callOf());
  const child = place.children.spawn({
    argv: [
      Bun.which("runc") ?? "runc",
      "--root",
      join(place.directory, "root"),
      "delete",
      "-f",
      id,
    ],
    env: [],
    stdio: [],
  });
  expect((await child.exited).status).toBe(0);
  await ended;
  renameSync(path, `${path}-removed`);
}

test("an ended container whose bundle is gone is forgotten, and the shim is empty", async () => {
  await using place = new ServicePlace();
  const lost = await place.running();
  const kept = await place.running();
  await clear(place, lost);
  await place.service.forgetLost(kept.id);
  expect(place.service.size).toBe(2);
  await place.service.forgetLost();
  expect([place.service.size, place.empties]).toEqual([1, 0]);
  const state = async () => place.service.state({ id: lost.id, execId: "" });
  expect(await errorOf(state())).toMatchObject({ reason: "notFound" });
  await place.end(kept);
  expect(place.empties).toBe(1);
});

test("one whose bundle is there, or that runs, is not", async () => {
  await using place = new ServicePlace();
  const running = await place.running();
  const { id } = running;
  renameSync(running.path, `${running.path}-moved`);
  await place.service.forgetLost();
  expect(place.service.size).toBe(1);
  renameSync(`${running.path}-moved`, running.path);
  const waited = place.service.wait({ id, execId: "" }, callOf());
  await place.service.kill({ id, execId: "", signal: 9, all: false });
  await waited;
  await place.service.forgetLost();
  const again = errorOf(place.service.create(place.requestFor(running), callOf()));
  expect(await again).toMatchObject({ reason: "alreadyExists" });
  await place.service.delete({ id, execId: "" }, callOf());
});

test("one whose bundle is gone, and that the runtime still has, can be deleted", async () => {
  await using place = new ServicePlace();
  const running = await place.running();
  const { id, path } = running;
  const waited = place.service.wait({ id, execId: "" }, callOf());
  await place.service.kill({ id, execId: "", signal: 9, all: false });
  await waited;
  renameSync(path, `${path}-removed`);
  await place.service.forgetLost();
  expect(place.service.size).toBe(1);
  await place.service.delete({ id, execId: "" }, callOf());
  expect(existsSync(join(place.directory, "root", id))).toBe(false);
});

test("one that cannot be looked at, for want of a descriptor, is not lost", async () => {
  await using place = new ServicePlace();
  const { id } = await place.running();
  const waited = place.service.wait({ id, execId: "" }, callOf());
  await place.service.kill({ id, execId: "", signal: 9, all: false });
  await waited;
  await withoutDescriptors(() => place.service.forgetLost());
  expect(place.service.size).toBe(1);
  await place.service.delete({ id, execId: "" }, callOf());
});

test("what is asked for right after a Create finds it begun", async () => {
  await using place = new ServicePlace();
  const bundle = place.bundle({ args: ["sleep", "1000"] });
  const { id } = bundle;
  const created = errorOf(place.service.create(place.requestFor(bundle), callOf()));
  place.service.shutdown({ id, now: false });
  const deleted = errorOf(place.service.delete({ id, execId: "" }, callOf()));
  expect(await created).toMatchObject({ reason: "canceled" });
  expect(await deleted).toMatchObject({ reason: "notFound" });
  expect(existsSync(join(place.directory, "root", id))).toBe(false);
});

test("one that was cleared is not in the way of the next of its id, whose bundle stands in its place", async () => {
  await using place = new ServicePlace();
  const lost = await place.running();
  await clear(place, lost);
  const next = place.bundle({ id: lost.id, args: ["sleep", "1000"] });
  expect(next.path).toBe(lost.path);
  const { pid } = await place.service.create(place.requestFor(next), callOf());
  expect(place.service.state({ id: next.id, execId: "" })).toMatchObject({ pid, exitStatus: 0 });
  expect(place.service.size).toBe(1);
  await place.service.delete({ id: next.id, execId: "" }, callOf());
});
