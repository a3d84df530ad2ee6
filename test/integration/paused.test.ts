/** Pausing and resuming, over real runc. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { Status } from "../../src/gen/containerd/types/task/task.ts";
import { buildExecutable } from "../compiled.ts";
import { LiveShim } from "./live-shim.ts";

let shim: LiveShim;
beforeAll(async () => {
  await buildExecutable();
  shim = await LiveShim.start();
});
afterAll(async () => await shim[Symbol.asyncDispose]());

test("a container that was thawed behind the shim's back can be resumed, and paused again", async () => {
  using bundle = shim.bundle({ args: ["sleep", "1000"] });
  const { id } = bundle;
  await shim.create(bundle);
  await shim.task.start({ id, execId: "" });
  await shim.task.pause({ id });
  const root = join(shim.path, "runc/live");
  expect(Bun.spawnSync(["runc", "--root", root, "resume", id]).exitCode).toBe(0);
  await shim.task.resume({ id });
  expect((await shim.task.state({ id, execId: "" })).status).toBe(Status.RUNNING);
  await shim.task.pause({ id });
  expect((await shim.task.state({ id, execId: "" })).status).toBe(Status.PAUSED);
  await shim.task.resume({ id });
  await shim.remove(id);
}, 60_000);
