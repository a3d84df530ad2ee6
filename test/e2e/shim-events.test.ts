/** `shim events` with a real containerd: found by its shims, of all namespaces, filtered. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { matrix } from "./matrix.ts";

const SHIM = join(import.meta.dirname, "../../dist/shim");

matrix("shim events", { versions: "all", runtimes: ["wedge"] }, (scene) => {
  test("tells what containerd tells, as lines and as JSON", async () => {
    // The manager is found by what runs under it.
    const first = await scene.start(["sleep", "600"]);
    const lines = scene.daemon.program([SHIM, "events", "--topic", "/tasks"]);
    const filters = ["/tasks/exit", "/tasks/resumed"].flatMap((topic) => [
      ...["--filter", `topic=="${topic}"`],
    ]);
    const json = scene.daemon.program([SHIM, "events", "--json", ...filters]);
    // A subscription says nothing of itself: until it is there, events pass it by.
    while (!lines.stdout.includes("/tasks/") || !json.stdout.includes("/tasks/")) {
      await scene.daemon.ctr("task", "pause", first);
      await scene.daemon.ctr("task", "resume", first);
    }
    await scene.daemon.ctr("task", "kill", "-s", "9", first);
    await lines.waitFor(new RegExp(`/tasks/exit .*"containerId":"${first}"`));
    const { namespace } = scene.daemon;
    expect(lines.stdout).toMatch(
      new RegExp(`^\\S+Z ${namespace} /tasks/resumed \\{"containerId":"${first}"\\}$`, "m"),
    );
    await json.waitFor(/"topic":"\/tasks\/exit".*\n/);
    const last = json.stdout.trim().split("\n").at(-1) ?? "";
    expect(JSON.parse(last)).toMatchObject({
      namespace,
      topic: "/tasks/exit",
      type: "containerd.events.TaskExit",
      event: { containerId: first, id: first, exitStatus: 137 },
    });
    for (const client of [lines, json]) {
      client.kill("SIGINT");
      expect(await client.finish()).toMatchObject({ code: 0, stderr: "" });
    }
    await scene.remove(first);
  });
});

matrix("shim events", { runtimes: ["wedge"] }, (scene) => {
  test("without a manager it says so, with an exit code of its own", async () => {
    const nowhere = scene.daemon.inside("no.sock");
    const { code, stderr } = await scene.daemon
      .program([SHIM, "events", "--address", nowhere])
      .finish();
    expect(code).toBe(4);
    expect(stderr).toMatch(/^shim: Cannot follow the events of \S+no\.sock: /);
  });
});
