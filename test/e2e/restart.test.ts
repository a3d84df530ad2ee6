/** containerd is killed and started again under live containers: nothing dies and nothing is lost. */

import { expect, test } from "bun:test";
import { matrix } from "./matrix.ts";

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
    const id = await scene.start(["sh", "-c", "until [ -e /end ]; do sleep 0.1; done; exit 7"]);
    const pid = await scene.daemon.taskPid(id);
    await scene.daemon.ctr("task", "exec", "--exec-id", "e", id, "sh", "-c", "sleep 2; touch /end");
    const ending = ["task", "exec", "-d", "--exec-id", "f", id, "true"];
    await scene.daemon.call(ending);
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

  test("a client that reads on gets every line that was written meanwhile", async () => {
    const id = scene.id();
    const script =
      "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); [ $((i%30)) = 0 ] && sleep 0.02; done; sleep 600";
    const client = scene.daemon.open(scene.run(id, ["sh", "-c", script]), { limitMs: 60_000 });
    await client.waitFor(/line 100\n/);
    await scene.daemon.kill();
    await client.waitFor(/line 1500\n/);
    await scene.daemon.resume();
    await client.waitFor(/line 2999\n/);
    const expected = Array.from({ length: 3000 }, (_, index) => `line ${index}\n`).join("");
    expect(client.stdout).toBe(expected);
    client.kill("SIGKILL");
    await scene.remove(id);
    await scene.daemon.removeClientFifos();
  });
});
