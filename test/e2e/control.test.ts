/** Signals, pause and resume, lists and figures. */

import { expect, test } from "bun:test";
import { matrix } from "./matrix.ts";

matrix("control", {}, (scene) => {
  test.each([
    ["SIGTERM", 143],
    ["SIGKILL", 137],
    ["SIGUSR1", 138],
    ["37", 165], // SIGRTMIN+3
  ])("kill -s %s ends the container with %i", async (signal, code) => {
    const id = await scene.start(["sh", "-c", "sleep 600 & exec sleep 601"], {
      flags: ["--with-ns", "pid:/proc/1/ns/pid"],
    });
    await scene.daemon.ctr("task", "kill", "-s", signal, id);
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.removeTask(id)).toBe(code);
    await scene.daemon.ctr("container", "rm", id);
  });

  test("kill --all reaches every process", async () => {
    const id = await scene.start(["sh", "-c", "trap 'exit 9' USR1; sleep 600 & wait"]);
    await scene.daemon.ctr("task", "kill", "--all", "-s", "SIGKILL", id);
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.removeTask(id)).toBe(137);
    await scene.daemon.ctr("container", "rm", id);
  });

  test("a signal to what has ended is refused as not found", async () => {
    const id = await scene.start(["true"]);
    await scene.daemon.waitForStatus(id, "STOPPED");
    const { code, stderr } = await scene.daemon.call(["task", "kill", "-s", "SIGTERM", id]);
    expect(code).toBe(1);
    expect(stderr).toContain("process already finished: not found");
    await scene.remove(id);
  });

  test("a paused container stands still, is listed so, and goes on when resumed", async () => {
    const id = await scene.start(["sh", "-c", "while :; do echo x >>/n; sleep 0.02; done"]);
    await scene.daemon.ctr("task", "pause", id);
    expect(await scene.daemon.status(id)).toBe("PAUSED");
    expect((await scene.daemon.call(["task", "pause", id])).stderr).toContain(
      "cannot pause a paused",
    );
    await scene.daemon.ctr("task", "resume", id);
    expect(await scene.daemon.status(id)).toBe("RUNNING");
    await scene.remove(id);
  });

  test("a paused container can be killed", async () => {
    const id = await scene.start(["sleep", "600"]);
    await scene.daemon.ctr("task", "pause", id);
    await scene.daemon.ctr("task", "kill", "-s", "SIGKILL", id);
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.removeTask(id)).toBe(137);
    await scene.daemon.ctr("container", "rm", id);
  });

  test("metrics are the cgroup's", async () => {
    const id = await scene.start(["sleep", "600"], { flags: ["--memory-limit", "50000000"] });
    const text = await scene.daemon.ctr("task", "metrics", "--format", "json", id);
    const metrics: { memory: { usage: { limit: number } }; pids: { current: number } } =
      JSON.parse(text);
    expect(metrics.pids.current).toBe(1);
    expect(metrics.memory.usage.limit).toBe(49_999_872);
    await scene.remove(id);
  });
});
