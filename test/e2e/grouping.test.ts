/** Containers of one group share a shim. */

import { expect, test } from "bun:test";
import { matrix } from "./matrix.ts";

matrix("grouping", { versions: "all" }, (scene) => {
  test("two containers of a group are served by one shim, which lives until both are gone", async () => {
    const first = scene.id();
    const flags = ["--annotation", `io.containerd.runc.v2.group=${first}`];
    await scene.start(["sleep", "600"], { id: first, flags });
    const second = await scene.start(["sleep", "601"], { flags });
    expect(scene.daemon.shims()).toHaveLength(1);
    const exec = ["task", "exec", "--exec-id", "e", second, "sh", "-c", "exit 4"];
    expect((await scene.daemon.call(exec)).code).toBe(4);
    await scene.remove(first);
    expect(scene.daemon.shims()).toHaveLength(1);
    expect(await scene.daemon.status(second)).toBe("RUNNING");
    await scene.remove(second);
  });
});
