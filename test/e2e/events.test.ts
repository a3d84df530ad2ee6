/** Events as containerd's own client sees them. */

import { expect, test } from "bun:test";
import type { Client } from "./client.ts";
import { matrix, type Scene } from "./matrix.ts";
import { poll } from "./poll.ts";

/** The topics of one container's task, in the order in which they were printed. */
function topicsOf(output: string, id: string): string[] {
  return output
    .split("\n")
    .filter((line) => line.includes(`"${id}"`))
    .map((line) => / (\/tasks\/\S+) /.exec(line)?.[1] ?? "")
    .filter((topic) => topic !== "");
}

/**
 * Waits until as many events of the container have come as are expected, and compares.
 * The stock shim sometimes ends before its last event is out, so that one is not asked of it.
 */
async function expectTopics(
  scene: Scene,
  client: Client,
  id: string,
  expected: readonly string[],
): Promise<void> {
  const isAsked = (topic: string) => scene.kind === "wedge" || topic !== "/tasks/delete";
  const asked = expected.filter(isAsked);
  const topics = () => topicsOf(client.stdout, id).filter(isAsked);
  await poll(`${asked.length} events of ${id}`, () => topics().length >= asked.length, {
    detail: () => `\n${client.stdout}`,
  });
  expect(topics()).toEqual(asked);
}

matrix("events", { versions: "all" }, (scene) => {
  test("come in the order of a container's life, each once", async () => {
    const client = await scene.daemon.events();
    const id = await scene.start(["sh", "-c", "until [ -e /end ]; do sleep 0.05; done; exit 3"]);
    await scene.daemon.ctr("task", "exec", "--exec-id", "e1", id, "true");
    await scene.daemon.ctr("task", "pause", id);
    await scene.daemon.ctr("task", "resume", id);
    await scene.daemon.ctr("task", "exec", "--exec-id", "e2", id, "true");
    await scene.daemon.touch(id, "/end");
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.removeTask(id)).toBe(3);
    await scene.daemon.ctr("container", "rm", id);
    await expectTopics(scene, client, id, [
      "/tasks/create",
      "/tasks/start",
      "/tasks/exec-added",
      "/tasks/exec-started",
      "/tasks/exit",
      "/tasks/paused",
      "/tasks/resumed",
      "/tasks/exec-added",
      "/tasks/exec-started",
      "/tasks/exit",
      "/tasks/exit",
      "/tasks/delete",
    ]);
    client.kill("SIGKILL");
  });
});

matrix("events", {}, (scene) => {
  test("of a process that ends at once are in order, with one pid and one exit, 20 times", async () => {
    const client = await scene.daemon.events();
    const ids = Array.from({ length: 20 }, () => scene.id());
    for (const id of ids) {
      await scene.daemon.call(scene.run(id, ["sh", "-c", "exit 9"], { flags: ["--rm"] }));
    }
    for (const id of ids) {
      await expectTopics(scene, client, id, [
        "/tasks/create",
        "/tasks/start",
        "/tasks/exit",
        "/tasks/delete",
      ]);
      const lines = client.stdout.split("\n").filter((line) => line.includes(`"${id}"`));
      const tasks = lines.filter((line) => line.includes(" /tasks/"));
      expect(new Set(tasks.map((line) => /"pid":(\d+)/.exec(line)?.[1])).size).toBe(1);
      expect(lines.find((line) => line.includes(" /tasks/exit "))).toMatch(/"exit_status":9\b/);
    }
    client.kill("SIGKILL");
  });
});

// On cgroup v1 the stock shim now and then loses the event when the cgroup goes first.
matrix("events", { runtimes: ["wedge"] }, (scene) => {
  test("tell of a container that ran out of memory before they tell of its exit", async () => {
    const client = await scene.daemon.events();
    const id = scene.id();
    const flags = ["--rm", "--memory-limit", "8000000"];
    const script = "head -c 100000000 /dev/zero | tail -c 90000000 > /dev/null & wait $!; exit $?";
    const result = await scene.daemon.call(scene.run(id, ["sh", "-c", script], { flags }));
    expect(result.code).toBe(137);
    await poll("the last event", () => topicsOf(client.stdout, id).includes("/tasks/delete"), {
      detail: () => client.stdout,
    });
    client.kill("SIGKILL");
    expect([...new Set(topicsOf(client.stdout, id))]).toEqual([
      "/tasks/create",
      "/tasks/start",
      "/tasks/oom",
      "/tasks/exit",
      "/tasks/delete",
    ]);
  });
});
