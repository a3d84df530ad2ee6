/** Our executable, copied alone under the stock shim's name to where containerd looks first, serves `ctr` unchanged. */

import { expect, test } from "bun:test";
import { readlinkSync } from "node:fs";
import { IMAGE } from "./containerd.ts";
import { matrix } from "./matrix.ts";

matrix("drop-in", { versions: "all", runtimes: ["wedge"], daemon: { dropIn: true } }, (scene) => {
  test("what containerd runs unless told otherwise is ours", async () => {
    const id = scene.id();
    await scene.daemon.ctr("run", "-d", IMAGE, id, "sleep", "600");
    const [shim = 0] = scene.daemon.shims();
    const executable = readlinkSync(scene.daemon.sandbox.path(`/proc/${shim}/exe`));
    expect(executable).toBe(scene.daemon.inside("bin/containerd-shim-runc-v2"));
    await scene.remove(id);
  });

  test("streams, exit codes, and the words for what is not there", async () => {
    const script = "read line; echo $line; echo err >&2; exit 7";
    const stdin = new TextEncoder().encode("in\n");
    const run = scene.run(scene.id(), ["sh", "-c", script], { flags: ["--rm"] });
    expect(await scene.daemon.call(run, { stdin })).toMatchObject({ code: 7, stdout: "in\n" });
    const missing = scene.run(scene.id(), ["nope"], { flags: ["--rm"] });
    const { code, stderr } = await scene.daemon.call(missing);
    expect(code).toBe(1);
    expect(stderr).toMatch(/exec: "nope": executable file not found in \$PATH/);
  });

  test("a terminal is a terminal", async () => {
    const flags = ["--rm", "-t"];
    const terminal = scene.daemon.terminal(scene.run(scene.id(), ["sh"], { flags }));
    await terminal.waitFor(/# /);
    terminal.type("tty; exit 9\n");
    await terminal.waitFor(/\/dev\/(pts\/\d+|console)\n/);
    expect(await terminal.finish()).toBe(9);
  });

  test("exec, pause, metrics, signals, and an outage of containerd", async () => {
    const id = await scene.start(["sleep", "600"], { flags: ["--memory-limit", "50000000"] });
    const exec = ["task", "exec", "--exec-id", "e", id, "sh", "-c", "echo in; exit 4"];
    expect(await scene.daemon.call(exec)).toMatchObject({ code: 4, stdout: "in\n" });
    await scene.daemon.ctr("task", "pause", id);
    expect(await scene.daemon.status(id)).toBe("PAUSED");
    await scene.daemon.ctr("task", "resume", id);
    expect(await scene.daemon.ctr("task", "metrics", id)).toContain("49999872");
    await scene.daemon.kill();
    await scene.daemon.resume();
    expect(await scene.daemon.status(id)).toBe("RUNNING");
    await scene.daemon.ctr("task", "kill", "-s", "SIGKILL", id);
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.removeTask(id)).toBe(137);
    await scene.daemon.ctr("container", "rm", id);
  });

  test("containers of one group share a shim", async () => {
    const first = scene.id();
    const flags = ["--annotation", `io.containerd.runc.v2.group=${first}`];
    await scene.start(["sleep", "600"], { id: first, flags });
    const second = await scene.start(["sleep", "601"], { flags });
    expect(scene.daemon.shims()).toHaveLength(1);
    await scene.remove(first);
    await scene.remove(second);
  });
});
