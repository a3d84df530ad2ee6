/** A root file system that stays in use while its container is deleted, under the compiled shim. */

import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Status } from "../../src/gen/containerd/types/task/task.ts";
import { buildExecutable } from "../compiled.ts";
import { listMountsBelow, makeBusyboxRootfs } from "../fake/bundle.ts";
import { LiveShim, until } from "./live-shim.ts";

const LIMIT_MS = 60_000;
const PROMPT = { timeoutMs: 10_000 };

beforeAll(buildExecutable);

test(
  "a Delete that its client gave up is answered later, with the shim gone then and the layer whole",
  async () => {
    await using shim = await LiveShim.start();
    const { task } = shim;
    using bundle = shim.bundle({ args: ["sleep", "1000"], rootfs: "empty" });
    const process = { id: bundle.id, execId: "" };
    const layer = join(shim.path, "layer");
    mkdirSync(layer);
    makeBusyboxRootfs(layer);
    const files = readdirSync(join(layer, "bin")).length;
    const rootfs = [{ type: "bind", source: layer, target: "", options: ["rbind", "rw"] }];
    await task.create({ ...shim.createRequest(bundle), rootfs });
    await task.start(process);
    const user = Bun.spawn(["sleep", "1000"], { cwd: bundle.rootfs });
    try {
      await task.kill({ ...process, signal: 9, all: false });
      await task.wait(process);
      const late = task.delete(process, { timeoutMs: 300 });
      expect(await late.catch((error: unknown) => error)).toMatchObject({
        reason: "deadlineExceeded",
      });
      // Nobody is told that it is gone while it is not.
      expect(await task.state(process, PROMPT)).toMatchObject({
        status: Status.STOPPED,
        exitStatus: 137,
      });
      using other = shim.bundle({ args: ["sleep", "1000"] });
      await shim.create(other);
      await task.start({ id: other.id, execId: "" }, PROMPT);
      await shim.remove(other.id);
    } finally {
      user.kill("SIGKILL");
    }
    await user.exited;
    const answer = await task.delete(process, PROMPT);
    expect(answer.exitStatus).toBe(137);
    expect(listMountsBelow(shim.path)).toEqual([]);
    expect(readdirSync(bundle.rootfs)).toEqual([]);
    expect(readdirSync(join(layer, "bin"))).toHaveLength(files);
    const deletes = () => shim.events.filter(({ topic }) => topic === "/tasks/delete");
    await until("both are told", () => deletes().length >= 2);
    expect(deletes()).toHaveLength(2);
    await task.shutdown({ id: bundle.id, now: false }, PROMPT);
    await until("the shim has ended", () => !shim.isAlive);
  },
  LIMIT_MS,
);
