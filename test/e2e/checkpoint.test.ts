/** Checkpoint and restore, where CRIU works on this kernel. */

import { afterEach, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { findCriu } from "../../scripts/debian-programs.ts";
import { matrix, type Scene } from "./matrix.ts";
import { poll } from "./poll.ts";

const criu = findCriu();
if ("refusal" in criu) console.warn(`checkpoint is skipped: ${criu.refusal}`);
const works = test.skipIf("refusal" in criu);
const versions = "all";
const daemon = "program" in criu ? { criu: criu.program } : {};

/** Counts into a file and on stdout. */
const COUNTER = "i=0; while :; do i=$((i + 1)); echo $i; echo $i > /n; sleep 0.05; done";

/** How far a running counter is; 0 before its first number. */
async function count(scene: Scene, id: string): Promise<number> {
  const pid = await scene.daemon.taskPid(id);
  const file = scene.daemon.sandbox.path(`/proc/${pid}/root/n`);
  return existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;
}

/** Waits until a counter is beyond `from`. */
async function untilBeyond(scene: Scene, id: string, from: number): Promise<void> {
  await poll(`${id} counts beyond ${from}`, async () => (await count(scene, id)) > from, {
    detail: () => scene.daemon.tail(),
  });
}

/** Takes away what CRIU remembers of the kernel, and what containerd and its client leave of a restore. */
function cleanAfterEach(scene: Scene): void {
  afterEach(async () => {
    rmSync(scene.daemon.sandbox.path("/run/criu.kdat"), { force: true });
    const unpacked = readdirSync(scene.daemon.outside("tmp"));
    for (const name of unpacked.filter((entry) => entry.startsWith("ctrd-checkpoint")))
      rmSync(scene.daemon.outside("tmp", name), { recursive: true });
    await scene.daemon.removeClientFifos();
  });
}

/** Saves a container by way of its manager, and brings it to life again from what was kept. */
async function saveAndRestore(scene: Scene, flags: readonly string[]): Promise<void> {
  const id = scene.id();
  const client = scene.daemon.terminal(scene.run(id, ["sh", "-c", COUNTER], { flags }));
  await client.waitFor(/\b5\b/);
  const name = `localhost/checkpoint-${id}:latest`;
  await scene.daemon.ctr("container", "checkpoint", "--task", "--rw", "--image", id, name);
  client.kill("SIGKILL");
  await client.exited;
  const before = await count(scene, id);
  await scene.daemon.call(["task", "rm", "--force", id]);
  await scene.daemon.ctr("container", "rm", id);

  const restored = scene.daemon.terminal(["container", "restore", "--live", "--rw", id, name]);
  await scene.daemon.waitForStatus(id, "RUNNING");
  expect(await count(scene, id)).toBeGreaterThan(4);
  await untilBeyond(scene, id, before);
  restored.kill("SIGKILL");
  await restored.exited;
  await scene.remove(id);
  await scene.daemon.ctr("images", "rm", name);
}

function scenarios(scene: Scene): void {
  cleanAfterEach(scene);

  works("a container goes on while it is saved", async () => {
    const id = await scene.start(["sh", "-c", COUNTER]);
    await untilBeyond(scene, id, 3);
    const image = scene.daemon.inside(`running-${id}`);
    await scene.daemon.ctr("task", "checkpoint", "--image-path", image, id);
    expect(existsSync(scene.daemon.outside(`running-${id}`, "inventory.img"))).toBe(true);
    expect(await scene.daemon.status(id)).toBe("RUNNING");
    await untilBeyond(scene, id, await count(scene, id));
    await scene.remove(id);
  });

  works("a container that is saved to its end is stopped, and leaves nothing", async () => {
    const events = await scene.daemon.events();
    const id = await scene.start(["sh", "-c", COUNTER]);
    await untilBeyond(scene, id, 3);
    const image = scene.daemon.inside(`ended-${id}`);
    await scene.daemon.ctr("task", "checkpoint", "--exit", "--image-path", image, id);
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.removeTask(id)).toBe(137);
    // The stock shim of containerd 2.1 loses it now and then.
    await events.waitFor(scene.kind === "wedge" ? /\/tasks\/delete/ : /\/tasks\/exit/);
    events.kill("SIGTERM");
    await events.exited;
    // The stock shim tells nobody.
    const told = events.stdout.split("\n").filter((line) => line.includes("/tasks/checkpointed"));
    expect(told.length).toBe(scene.kind === "wedge" ? 1 : 0);
    await scene.daemon.ctr("container", "rm", id);
  });

  works("a container goes on where it was when it is restored", async () => {
    await saveAndRestore(scene, []);
  });

  works("a container with a terminal goes on where it was when it is restored", async () => {
    // Its client restores without a terminal what had one.
    if (scene.daemon.version.series === "1.6") return;
    await saveAndRestore(scene, ["-t"]);
  });

  works("a checkpoint that fails says where CRIU's log is, and the container goes on", async () => {
    // Connections that are open are saved only on demand.
    const script = "nc -l -p 7 -e cat & while ! nc 127.0.0.1 7; do :; done";
    const id = await scene.start(["sh", "-c", script]);
    const pid = await scene.daemon.taskPid(id);
    const connections = () =>
      readFileSync(scene.daemon.sandbox.path(`/proc/${pid}/net/tcp`), "utf8");
    await poll("the connection is open", () => / 01 /.test(connections()));
    const image = scene.daemon.inside(`failed-${id}`);
    const result = await scene.daemon.call(["task", "checkpoint", "--image-path", image, id]);
    expect(result.code).toBe(1);
    const log = /path= (\S+criu-dump\.log)/.exec(result.stderr)?.[1] ?? result.stderr;
    expect(readFileSync(scene.daemon.sandbox.path(log), "utf8")).toMatch(/Error/);
    expect(await scene.daemon.status(id)).toBe("RUNNING");
    await scene.remove(id);
  });
}

matrix("checkpoint", { versions, daemon, runtimes: ["runc"] }, scenarios);
// `ctr` knows options of a checkpoint for the stock shim's name alone.
matrix(
  "checkpoint under the stock name",
  { versions, daemon: { ...daemon, dropIn: true }, runtimes: ["wedge"] },
  scenarios,
);

matrix("checkpoint under its own name", { versions, daemon, runtimes: ["wedge"] }, (scene) => {
  cleanAfterEach(scene);

  works("a container goes on where it was when it is restored", async () => {
    await saveAndRestore(scene, []);
  });
});
