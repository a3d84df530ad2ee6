/**
 * Containers that live and end while containerd is away, or hangs: afterwards `ctr events` shows all of
 * it, in order. They are driven over ttrpc, as there is no manager to do it.
 */

import { expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { TaskDefinition } from "../../src/gen/containerd/task/v2/task.ts";
import type { ServiceDefinition } from "../../src/rpc/service.ts";
import { connectBun } from "../../src/rpc/ttrpc/bun.ts";
import { createStub, type Stub } from "../../src/rpc/ttrpc/stub.ts";
import { makeBundle, makeBusyboxRootfs } from "../fake/bundle.ts";
import type { Client } from "./client.ts";
import { LONG_LIMIT_MS, matrix, type Scene } from "./matrix.ts";
import { poll } from "./poll.ts";

/** How long containerd is away at least. Two minutes (120000) by hand; the rest is the same. */
const OUTAGE_MS = Number(process.env["WEDGE_OUTAGE_MS"] ?? 1000);
const NO_STDIO = { terminal: false, stdin: "", stdout: "", stderr: "" };
const GROUP = { "io.containerd.runc.v2.group": "journal" };

/** One shim for many containers, without containerd. */
interface Group {
  readonly task: Stub<typeof TaskDefinition & ServiceDefinition>;
  readonly shimPid: number;
  /** Lets a container live from its creation to its deletion; it ends with `status`. */
  live(id: string, status: number): Promise<void>;
  close(): Promise<void>;
}

async function openGroup(scene: Scene, ids: readonly string[]): Promise<Group> {
  const { daemon } = scene;
  const { sandbox } = daemon;
  const parent = daemon.outside("tmp", "journal");
  mkdirSync(parent);
  makeBusyboxRootfs(join(parent, "rootfs"));
  const inside = daemon.inside("tmp", "journal");
  for (const [status, id] of ids.entries()) {
    makeBundle({
      ...{ id, parent, script: `exit ${status}`, rootfs: "missing", annotations: GROUP },
      cgroupsPath: `/${sandbox.name}/${id}`,
      config: { root: { path: join(inside, "rootfs") } },
    });
  }
  const shim = join(daemon.inside("bin"), "containerd-shim-wedge-v2");
  const address = daemon.inside("containerd.sock");
  const flags = `-namespace ${daemon.namespace} -address ${address} -id ${ids[0]} start`;
  const starter = daemon.program([
    ...["env", "-C", join(inside, ids[0] ?? ""), `TTRPC_ADDRESS=${address}.ttrpc`],
    ...["sh", "-c", `${shim} ${flags}`],
  ]);
  const { stdout } = await starter.finish();
  const client = await connectBun({ unix: sandbox.path(stdout.replace("unix://", "")) });
  const task = createStub(client, TaskDefinition);
  const { shimPid } = await task.connect({ id: "" });
  return {
    task,
    shimPid,
    live: async (id, status) => {
      const process = { id, execId: "" };
      const none = { rootfs: [], checkpoint: "", parentCheckpoint: "", options: undefined };
      await task.create({ id, bundle: join(inside, id), ...none, ...NO_STDIO });
      await task.start(process);
      expect((await task.wait(process)).exitStatus).toBe(status);
      // The order of what is asked for is the test's; that of exit and delete is the shim's.
      await task.delete(process);
    },
    close: async () => {
      await task.shutdown({ id: "", now: false });
      client.close();
      await poll("the shim has ended", () => !daemon.isAlive(shimPid));
      await Bun.$`rm -r ${parent}`;
    },
  };
}

/**
 * Topics with the ids of their containers and the status of what has ended, repetitions of one event
 * left out: each comes at least once.
 */
function taskEvents(events: Client): string[] {
  const lines = [...events.stdout.matchAll(/ \/tasks\/(\w+) (\{.*\})/g)].map(
    ([, topic = "", json = ""]) => {
      const { container_id: id, exit_status: status = 0 } = JSON.parse(json);
      return /exit|delete/.test(topic) ? `${topic} ${id} ${status}` : `${topic} ${id}`;
    },
  );
  return lines.filter((line, index) => line !== lines[index - 1]);
}

/** A container's status is its place in the list. */
function expected(ids: readonly string[]): string[] {
  return ids.flatMap((id, status) => [
    ...[`create ${id}`, `start ${id}`, `exit ${id} ${status}`, `delete ${id} ${status}`],
  ]);
}

async function signal(scene: Scene, pid: number, name: "STOP" | "CONT"): Promise<void> {
  await scene.daemon.program(["kill", `-${name}`, String(pid)]).finish();
}

matrix("journal", { runtimes: ["wedge"] }, (scene) => {
  test(
    "fifty containers start and end while containerd is down",
    async () => {
      const ids = Array.from({ length: 50 }, (_, index) => `down-${index}`);
      const group = await openGroup(scene, ids);
      await scene.daemon.kill();
      const downAtMs = performance.now();
      for (const [status, id] of ids.entries()) await group.live(id, status);
      await Bun.sleep(Math.max(0, OUTAGE_MS - (performance.now() - downAtMs)));
      // Until somebody listens: what containerd has taken is gone for who comes later.
      await signal(scene, group.shimPid, "STOP");
      await scene.daemon.resume();
      const events = await scene.daemon.events();
      await signal(scene, group.shimPid, "CONT");
      await poll("all is told", () => taskEvents(events).length >= ids.length * 4);
      expect(taskEvents(events)).toEqual(expected(ids));
      events.kill("SIGKILL");
      await group.close();
    },
    LONG_LIMIT_MS + OUTAGE_MS,
  );

  test(
    "a containerd that accepts and never answers delays no call and no exit",
    async () => {
      const ids = Array.from({ length: 5 }, (_, index) => `hung-${index}`);
      const events = await scene.daemon.events();
      const group = await openGroup(scene, ids);
      scene.daemon.freeze();
      for (const [status, id] of ids.entries()) await group.live(id, status);
      expect(taskEvents(events)).toEqual([]);
      scene.daemon.thaw();
      await poll("all is told", () => taskEvents(events).length >= ids.length * 4);
      expect(taskEvents(events)).toEqual(expected(ids));
      events.kill("SIGKILL");
      await group.close();
    },
    LONG_LIMIT_MS,
  );
});
