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
