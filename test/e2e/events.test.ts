/** Events as containerd's own client sees them. */

import { expect, test } from "bun:test";
import { matrix } from "./matrix.ts";
import { poll } from "./poll.ts";

/** The topics of one container's task, in the order in which they were printed. */
function topicsOf(output: string, id: string): string[] {
  return output
    .split("\n")
    .filter((line) => line.includes(`"${id}"`))
    .map((line) => / (\/tasks\/\S+) /.exec(line)?.[1] ?? "")
    .filter((topic) => topic !== "");
}

matrix("events", { versions: "all" }, (scene) => {
  test("come in the order of a container's life, each once", async () => {
    const client = scene.daemon.open(["events"], { limitMs: 80_000 });
    const id = await scene.start(["sh", "-c", "until [ -e /end ]; do sleep 0.05; done; exit 3"]);
    await scene.daemon.ctr("task", "exec", "--exec-id", "e1", id, "true");
    await scene.daemon.ctr("task", "pause", id);
    await scene.daemon.ctr("task", "resume", id);
    await scene.daemon.ctr("task", "exec", "--exec-id", "e2", id, "touch", "/end");
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.removeTask(id)).toBe(3);
    await scene.daemon.ctr("container", "rm", id);
    const topics = () => topicsOf(client.stdout, id);
    await poll("the last event", () => topics().includes("/tasks/delete"));
    client.kill("SIGKILL");
    expect(topics()).toEqual([
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
  });
});

matrix("events", {}, (scene) => {
  test("of a process that ends at once are in order, with one pid and one exit, 20 times", async () => {
    const client = scene.daemon.open(["events"]);
    const ids = Array.from({ length: 20 }, () => scene.id());
    for (const id of ids) {
      await scene.daemon.call(scene.run(id, ["sh", "-c", "exit 9"], { flags: ["--rm"] }));
    }
    const done = () => topicsOf(client.stdout, ids.at(-1) ?? "").includes("/tasks/delete");
    await poll("the last event", done);
    client.kill("SIGKILL");
    for (const id of ids) {
      expect(topicsOf(client.stdout, id)).toEqual([
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
  });
});

// On cgroup v1 the stock shim now and then loses the event when the cgroup goes first.
matrix("events", { runtimes: ["wedge"] }, (scene) => {
  test("tell of a container that ran out of memory before they tell of its exit", async () => {
    const client = scene.daemon.open(["events"]);
    const id = scene.id();
    const flags = ["--rm", "--memory-limit", "8000000"];
    const script = "head -c 100000000 /dev/zero | tail -c 90000000 > /dev/null & wait $!; exit $?";
    const result = await scene.daemon.call(scene.run(id, ["sh", "-c", script], { flags }));
    expect(result.code).toBe(137);
    await poll("the last event", () => topicsOf(client.stdout, id).includes("/tasks/delete"));
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
