/** containerd is killed and started again under live containers: nothing dies and nothing is lost. */

import { expect, test } from "bun:test";
import { matrix } from "./matrix.ts";
import { poll } from "./poll.ts";

matrix("restart", { versions: "all" }, (scene) => {
  test("a running container keeps its process, and is served as before", async () => {
    const id = await scene.start(["sleep", "600"]);
    const pid = await scene.daemon.taskPid(id);
    await scene.daemon.kill();
    await scene.daemon.resume();
    expect(await scene.daemon.status(id)).toBe("RUNNING");
    expect(await scene.daemon.taskPid(id)).toBe(pid);
    const exec = ["task", "exec", "--exec-id", "after", id, "sh", "-c", "echo again; exit 3"];
    expect(await scene.daemon.call(exec)).toMatchObject({ code: 3, stdout: "again\n" });
    await scene.daemon.ctr("task", "kill", "-s", "SIGKILL", id);
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.removeTask(id)).toBe(137);
    await scene.daemon.ctr("container", "rm", id);
  });
});

matrix("restart", { versions: "all", runtimes: ["wedge"] }, (scene) => {
  test("a container that ends meanwhile keeps its exit status (the stock shim forgets it)", async () => {
    const id = await scene.start([
      "sh",
      "-c",
      "until [ -e /end ]; do sleep 0.1; done; sleep 1; exit 7",
    ]);
    const pid = await scene.daemon.taskPid(id);
    await scene.daemon.ctr("task", "exec", "--exec-id", "e", id, "touch", "/end");
    await scene.daemon.kill();
    await scene.daemon.resume();
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.taskPid(id)).toBe(pid);
    expect(await scene.daemon.removeTask(id)).toBe(7);
    await scene.daemon.ctr("container", "rm", id);
  });

  test("a container that is killed while containerd is down is listed as stopped", async () => {
    const id = await scene.start(["sleep", "600"]);
    const pid = await scene.daemon.taskPid(id);
    if (pid === undefined) throw new Error("The task has no pid");
    await scene.daemon.kill();
    await scene.daemon.killInside(pid);
    await scene.daemon.resume();
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.removeTask(id)).toBe(137);
    await scene.daemon.ctr("container", "rm", id);
  });

  test("a shim whose socket was removed meanwhile ends, and the next task of its id is served", async () => {
    const id = await scene.start(["sleep", "600"]);
    const [lost = 0] = scene.daemon.shims();
    await scene.daemon.kill();
    await scene.daemon.removeShimSockets();
    await scene.daemon.resume();
    await scene.daemon.waitForStatus(id, undefined);
    expect(scene.daemon.isAlive(lost)).toBe(true);
    await scene.daemon.ctr("task", "start", "-d", id);
    const pid = await scene.daemon.taskPid(id);
    await poll("the lost shim has ended", () => !scene.daemon.isAlive(lost));
    await scene.daemon.kill();
    await scene.daemon.resume();
    expect(await scene.daemon.status(id)).toBe("RUNNING");
    expect(await scene.daemon.taskPid(id)).toBe(pid);
    await scene.remove(id);
    // Nobody has told the first task's client that it is over.
    await scene.daemon.removeClientFifos();
  });
});
