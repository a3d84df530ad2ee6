/** What containers do while containerd is down is not lost, and a shim that is killed leaves nothing. */

import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "./client.ts";
import { matrix, type Scene } from "./matrix.ts";
import { poll } from "./poll.ts";

const LINES = 4000;
/** Prints numbered lines once `/go` is there, at a pace that outlives a restart of containerd. */
const COUNT = `
  until [ -e /go ]; do sleep 0.02; done
  i=0
  while [ $i -lt ${LINES} ]; do
    echo "line $i"; i=$((i + 1))
    [ $((i % 200)) != 0 ] || sleep 0.1
  done
  exit 5`;

const counted = Array.from({ length: LINES }, (_, index) => `line ${index}\n`).join("");

/** A detached container whose FIFOs no client reads; returns its id and the FIFO of its stdout. */
async function startUnread(scene: Scene, script: string): Promise<{ id: string; stdout: string }> {
  const id = scene.id();
  const directory = scene.daemon.inside("tmp", `fifos-${id}`);
  mkdirSync(scene.daemon.sandbox.path(directory));
  await scene.start(["sh", "-c", script], { id, flags: ["--fifo-dir", directory] });
  const [inner = ""] = readdirSync(scene.daemon.sandbox.path(directory));
  return { id, stdout: join(directory, inner, `${id}-stdout`) };
}

async function initPid(scene: Scene, id: string): Promise<number> {
  const pid = await scene.daemon.taskPid(id);
  if (pid === undefined) throw new Error(`No task ${id}`);
  return pid;
}

/** Makes a file in the container's root without the help of containerd. */
function touch(scene: Scene, pid: number, path: string): void {
  writeFileSync(scene.daemon.sandbox.path(`/proc/${pid}/root${path}`), "");
}

function linesOf(reader: Client): number {
  return reader.stdout.split("\n").length - 1;
}

async function removeWithFifos(scene: Scene, id: string): Promise<void> {
  await scene.remove(id);
  await Bun.$`rm -r ${scene.daemon.outside("tmp", `fifos-${id}`)}`;
}

/** Removes a container whose task went with its shim. */
async function removeLost(scene: Scene, id: string): Promise<void> {
  await scene.remove(id);
  await scene.daemon.removeClientFifos();
  if (scene.kind === "runc") await scene.daemon.removeShimSockets();
}

matrix("outage", { versions: "all" }, (scene) => {
  test("a reader that stays gets every line that is written before, during and after", async () => {
    const { id, stdout } = await startUnread(scene, COUNT);
    const reader = scene.daemon.program(["cat", stdout]);
    touch(scene, await initPid(scene, id), "/go");
    await poll("lines before", () => linesOf(reader) > 300);
    await scene.daemon.kill();
    const before = linesOf(reader);
    await poll("lines during", () => linesOf(reader) > before + 300);
    await scene.daemon.resume();
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.removeTask(id)).toBe(5);
    expect((await reader.finish()).stdout).toBe(counted);
    await removeWithFifos(scene, id);
  });

  test("what is written while nobody reads waits for the next reader", async () => {
    const script = "until [ -e /go ]; do sleep 0.02; done; seq 1 3000; touch /done; sleep 600";
    const { id, stdout } = await startUnread(scene, script);
    const pid = await initPid(scene, id);
    await scene.daemon.kill();
    touch(scene, pid, "/go");
    const done = scene.daemon.sandbox.path(`/proc/${pid}/root/done`);
    await poll("all is written", () => existsSync(done));
    await scene.daemon.resume();
    const reader = scene.daemon.program(["cat", stdout]);
    await reader.waitFor(/^3000$/m);
    const expected = Array.from({ length: 3000 }, (_, index) => `${index + 1}\n`).join("");
    expect(reader.stdout).toBe(expected);
    await scene.daemon.ctr("task", "kill", "-s", "9", id);
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.removeTask(id)).toBe(137);
    expect((await reader.finish()).stdout).toBe(expected);
    await removeWithFifos(scene, id);
  });

  test("an exec that ends meanwhile keeps its exit code", async () => {
    const id = await scene.start(["sleep", "600"]);
    const pid = await initPid(scene, id);
    const script = "echo $$ > /exec; until [ -e /go ]; do sleep 0.02; done; rm /exec; exit 9";
    const flags = ["task", "exec", "--exec-id", "e1", "--detach", id];
    await scene.daemon.ctr(...flags, "sh", "-c", script);
    const marker = scene.daemon.sandbox.path(`/proc/${pid}/root/exec`);
    await poll("the exec runs", () => existsSync(marker));
    await scene.daemon.kill();
    touch(scene, pid, "/go");
    await poll("the exec ends", () => !existsSync(marker));
    await scene.daemon.resume();
    expect(await scene.daemon.call(["task", "rm", "--exec-id", "e1", id])).toMatchObject({
      code: 9,
    });
    await scene.remove(id);
  });

  test("a terminal is as it was", async () => {
    const id = scene.id();
    const starter = scene.daemon.terminal(scene.run(id, ["sh"], { flags: ["-d", "-t"] }));
    expect(await starter.finish()).toBe(0);
    await scene.daemon.kill();
    await scene.daemon.resume();
    const terminal = scene.daemon.terminal(["task", "attach", id], { columns: 66, rows: 22 });
    terminal.type("echo word-$((1 + 1))\n");
    await terminal.waitFor(/word-2\n/);
    terminal.type("exit 12\n");
    expect(await terminal.finish()).toBe(12);
    await scene.daemon.ctr("container", "rm", id);
  });

  test("a container survives five outages in a row", async () => {
    const id = await scene.start(["sleep", "600"]);
    const pid = await initPid(scene, id);
    for (let count = 0; count < 5; count++) {
      await scene.daemon.kill();
      await scene.daemon.resume();
    }
    expect(await scene.daemon.status(id)).toBe("RUNNING");
    expect(await initPid(scene, id)).toBe(pid);
    expect(scene.daemon.shims()).toHaveLength(1);
    await scene.remove(id);
  });

  test("a shim that is killed takes its container with it, and containerd cleans up", async () => {
    const id = await scene.start(["sleep", "600"]);
    const pid = await initPid(scene, id);
    const [shim = 0] = scene.daemon.shims();
    await scene.daemon.killInside(shim);
    await poll("the container is gone", () => !scene.daemon.isAlive(pid));
    await poll("its task is gone", async () => (await scene.daemon.status(id)) !== "RUNNING");
    await removeLost(scene, id);
  });

  test("a shim that is killed while containerd is down is cleaned up after", async () => {
    const id = await scene.start(["sleep", "600"]);
    const pid = await initPid(scene, id);
    const [shim = 0] = scene.daemon.shims();
    await scene.daemon.kill();
    await scene.daemon.killInside(shim);
    await scene.daemon.resume();
    await poll("the container is gone", () => !scene.daemon.isAlive(pid));
    await poll("its task is gone", async () => (await scene.daemon.status(id)) !== "RUNNING");
    await removeLost(scene, id);
  });
});

matrix("outage", { versions: "all", runtimes: ["wedge"] }, (scene) => {
  test("the last lines and the exit of a container that ends meanwhile are kept (the stock shim is deleted with its status)", async () => {
    const { id, stdout } = await startUnread(scene, COUNT);
    const pid = await initPid(scene, id);
    const reader = scene.daemon.program(["cat", stdout]);
    await scene.daemon.kill();
    touch(scene, pid, "/go");
    await poll("the container ends", () => !scene.daemon.isAlive(pid));
    await scene.daemon.resume();
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.removeTask(id)).toBe(5);
    expect((await reader.finish()).stdout).toBe(counted);
    await removeWithFifos(scene, id);
  });

  test("a shim that is killed after its container's exit leaves the true status (the stock shim's is 137)", async () => {
    const events = await scene.daemon.events();
    const id = await scene.start(["sh", "-c", "exit 42"]);
    await scene.daemon.waitForStatus(id, "STOPPED");
    const [shim = 0] = scene.daemon.shims();
    await scene.daemon.killInside(shim);
    await events.waitFor(new RegExp(`/tasks/delete .*"${id}"`));
    // The last events of the container before may come late.
    const statuses = [...events.stdout.matchAll(/ \/tasks\/(?:exit|delete) (\{.*\})/g)]
      .map(([, json = ""]) => json)
      .filter((json) => json.includes(`"${id}"`))
      .map((json) => /"exit_status":(\d+)/.exec(json)?.[1]);
    expect(new Set(statuses)).toEqual(new Set(["42"]));
    events.kill("SIGKILL");
    await removeLost(scene, id);
  });
});
