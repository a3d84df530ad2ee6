/** Checkpoint and restore, where CRIU works on this kernel. */

import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { matrix } from "./matrix.ts";

/** Why CRIU cannot be used here; undefined when it can. */
function refusal(): string | undefined {
  const check = spawnSync("criu", ["check"], { encoding: "utf8" });
  if (check.error !== undefined) return "criu is not installed";
  if (check.status === 0) return undefined;
  return `criu check: ${check.stderr.trim().split("\n").at(-1)}`;
}

const reason = refusal();
if (reason !== undefined) console.warn(`checkpoint is skipped: ${reason}`);

matrix("checkpoint", {}, (scene) => {
  test.skipIf(reason !== undefined)(
    "a container that was checkpointed goes on where it was when it is restored",
    async () => {
      const script = "i=0; while :; do i=$((i + 1)); echo $i > /n; sleep 0.05; done";
      const id = await scene.start(["sh", "-c", script]);
      const image = scene.daemon.inside(`checkpoint-${id}`);
      await scene.daemon.ctr("task", "checkpoint", "--exit", "--image-path", image, id);
      await scene.daemon.waitForStatus(id, "STOPPED");
      await scene.daemon.removeTask(id);
      await scene.daemon.ctr("container", "rm", id);
      expect(await Bun.file(scene.daemon.sandbox.path(`${image}/inventory.img`)).exists()).toBe(
        true,
      );
    },
  );
});
