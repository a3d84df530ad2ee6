/** `shim` beside a manager: what it finds and does under containerd, with wedge and with the stock shim. */

import { expect, test } from "bun:test";
import { dirname, join } from "node:path";
import type { CallResult } from "./containerd.ts";
import { wedgeExecutable } from "./containerd.ts";
import { matrix, type Scene } from "./matrix.ts";

const SHIM = join(dirname(wedgeExecutable()), "shim");

async function shim(scene: Scene, ...args: readonly string[]): Promise<CallResult> {
  return await scene.daemon.program([SHIM, ...args]).finish();
}

async function ask(scene: Scene, ...args: readonly string[]) {
  const { code, stdout, stderr } = await shim(scene, ...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

matrix("shim", { versions: "all" }, (scene) => {
  const kind = scene.kind === "wedge" ? "wedge" : "go";

  test("ps, inspect and stats tell of a container that containerd runs", async () => {
    const id = await scene.start(["sleep", "600"]);
    const pid = await scene.daemon.taskPid(id);
    const [row] = await ask(scene, "ps", "--json");
    const { namespace } = scene.daemon;
    expect(row).toMatchObject({ namespace, id, kind, status: "running", initPid: pid, pids: 1 });
    expect(row.connections).toBeGreaterThan(0);
    expect(row.pssBytes).toBeGreaterThan(0);
    expect(row.bundle).toBe(
      scene.daemon.inside("state/io.containerd.runtime.v2.task", namespace, id),
    );
    const document = await ask(scene, "inspect", id, "--json");
    expect(document).toMatchObject({ id, status: "running", initPid: pid, problem: null });
    if (kind === "wedge") {
      expect(document.answer.containers).toMatchObject([{ id, processes: [{ pid }] }]);
      expect(document.answer.connections.length).toBeGreaterThan(1);
    } else expect(document.answer).toBeNull();
    const { container, shim: own } = await ask(scene, "stats", `${namespace}/${id}`, "--json");
    expect(container.pids).toBe(1);
    expect(own.memory.pss).toBeGreaterThan(0);
    const metrics = await shim(scene, "metrics", "--ask");
    expect(metrics.stdout).toContain(
      `shim_info{namespace="${namespace}",shim="${id}",kind="${kind}"} 1`,
    );
    expect(metrics.stdout).toEndWith("# EOF\n");
    await scene.remove(id);
  });

  test("a container goes through its life by shim's hand, and containerd knows", async () => {
    const id = await scene.start(["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done"]);
    expect(await ask(scene, "state", id, "--json")).toMatchObject({ id, status: "running" });
    expect(await shim(scene, "exec", id, "sh", "-c", "echo out; echo err >&2; exit 9")).toEqual({
      code: 9,
      stdout: "out\n",
      stderr: "err\n",
    });
    expect(await shim(scene, "pause", id)).toEqual({ code: 0, stdout: "", stderr: "" });
    await scene.daemon.waitForStatus(id, "PAUSED");
    const [row] = await ask(scene, "ps", "--json");
    expect(row.status).toBe("paused");
    await shim(scene, "resume", id);
    await shim(scene, "kill", id, "TERM");
    expect(await shim(scene, "wait", id)).toMatchObject({ code: 3, stdout: "3\n" });
    await scene.daemon.waitForStatus(id, "STOPPED");
    await scene.remove(id);
  });

  test("attach takes the place of a client that has gone", async () => {
    const id = await scene.start(["sh", "-c", "read line; echo got $line; exit 4"]);
    const client = scene.daemon.program([SHIM, "attach", id], { stdin: Buffer.from("hello\n") });
    expect(await client.finish()).toEqual({ code: 4, stdout: "got hello\n", stderr: "" });
    await scene.remove(id);
    await scene.daemon.removeClientFifos();
  });

  test("doctor finds nothing broken under a healthy containerd, and a shim that was killed", async () => {
    const id = await scene.start(["sleep", "600"]);
    const findings = await ask(scene, "doctor", "--json");
    const levels = new Set(findings.map(({ level }: { level: string }) => level));
    expect(levels).not.toContain("broken");
    await scene.daemon.kill();
    for (const pid of scene.daemon.shims()) await scene.daemon.killInside(pid);
    const { code, stdout } = await shim(scene, "doctor", "--quiet");
    expect(code).toBe(1);
    expect(stdout).toMatch(new RegExp(`^broken +1 bundles whose shim does not run: .*${id}`, "m"));
    await scene.daemon.resume();
    await scene.remove(id);
    await scene.daemon.removeShimSockets();
    await scene.daemon.removeClientFifos();
  });
});
