/** OOM kills: what clients are told, and in which order. */

import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "./client.ts";
import { matrix, type Scene } from "./matrix.ts";
import { poll } from "./poll.ts";

const LIMIT = ["--memory-limit", "20000000"];
const GREEDY = "tail /dev/zero";
const BURST = 8;

interface TaskEvent {
  readonly topic: string;
  /** The exec's id, or the container's. */
  readonly process: string;
  readonly status: number;
}

/** The events of one task so far. */
function eventsOf(client: Client, id: string): TaskEvent[] {
  return client.stdout.split("\n").flatMap((line) => {
    const [, topic, json] = / (\/tasks\/\S+) (\{.*\})/.exec(line) ?? [];
    if (topic === undefined || json === undefined) return [];
    const event: { container_id?: string; id?: string; exit_status?: number } = JSON.parse(json);
    if (event.container_id !== id) return [];
    return [{ topic, process: event.id || id, status: event.exit_status ?? 0 }];
  });
}

async function waitForEvents(client: Client, id: string, topic: string, count: number) {
  const has = () => eventsOf(client, id).filter((event) => event.topic === topic).length >= count;
  const detail = () => `: ${JSON.stringify(eventsOf(client, id))}`;
  await poll(`${count} x ${topic} of ${id}`, has, { detail });
}

/** OOM events and exits alone, in order, as `oom` and `exit NAME STATUS`. */
function story(client: Client, id: string): string[] {
  return eventsOf(client, id).flatMap(({ topic, process, status }) => {
    if (topic === "/tasks/oom") return ["oom"];
    return topic === "/tasks/exit" ? [`exit ${process} ${status}`] : [];
  });
}

function exitRecord(scene: Scene, id: string): unknown {
  const path = join(scene.daemon.bundle(id), "exit.json");
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : undefined;
}

matrix("oom", { runtimes: ["wedge"] }, (scene) => {
  test("of init is told once, before its exit, and recorded with it", async () => {
    const events = await scene.daemon.events();
    const id = await scene.start(["sh", "-c", `exec ${GREEDY}`], { flags: LIMIT });
    await waitForEvents(events, id, "/tasks/exit", 1);
    expect(story(events, id)).toEqual(["oom", `exit ${id} 137`]);
    expect(JSON.stringify(exitRecord(scene, id))).toMatch(/"oom_?killed":true/i);
    await scene.remove(id);
    events.kill("SIGKILL");
  });

  test("of an exec is told before its exit, and the container runs on, several times", async () => {
    const events = await scene.daemon.events();
    const id = await scene.start(["sleep", "600"], { flags: LIMIT });
    const names = ["e1", "e2", "e3"];
    for (const [index, name] of names.entries()) {
      const exec = ["task", "exec", "--exec-id", name, id, "sh", "-c", `exec ${GREEDY}`];
      expect((await scene.daemon.call(exec)).code).toBe(137);
      await waitForEvents(events, id, "/tasks/exit", index + 1);
    }
    expect(await scene.daemon.status(id)).toBe("RUNNING");
    expect(story(events, id)).toEqual(names.flatMap((name) => ["oom", `exit ${name} 137`]));
    await scene.remove(id);
    events.kill("SIGKILL");
  });

  test("of a child is told, though init ends well", async () => {
    const events = await scene.daemon.events();
    const id = await scene.start(["sh", "-c", `${GREEDY}; exit 5`], { flags: LIMIT });
    await waitForEvents(events, id, "/tasks/exit", 1);
    expect(story(events, id)).toEqual(["oom", `exit ${id} 5`]);
    await scene.remove(id);
    events.kill("SIGKILL");
  });

  test("is told of each of many containers that end at once and are removed at once", async () => {
    const events = await scene.daemon.events();
    const ids = Array.from({ length: BURST }, () => scene.id());
    const run = async (id: string) => {
      const flags = ["--rm", ...LIMIT];
      return await scene.daemon.call(scene.run(id, ["sh", "-c", `exec ${GREEDY}`], { flags }));
    };
    const codes = await Promise.all(ids.map(run));
    expect(codes.map(({ code }) => code)).toEqual(ids.map(() => 137));
    for (const id of ids) {
      await waitForEvents(events, id, "/tasks/delete", 1);
      expect(story(events, id)).toEqual(["oom", `exit ${id} 137`]);
    }
    events.kill("SIGKILL");
  });

  test("is not told of what is killed by a signal, or of a neighbour", async () => {
    const events = await scene.daemon.events();
    const quiet = await scene.start(["sh", "-c", "sleep 600; true"], { flags: LIMIT });
    const greedy = await scene.start(["sh", "-c", `exec ${GREEDY}`], { flags: LIMIT });
    await waitForEvents(events, greedy, "/tasks/exit", 1);
    await scene.daemon.ctr("task", "kill", "-s", "SIGKILL", quiet);
    await waitForEvents(events, quiet, "/tasks/exit", 1);
    expect(story(events, quiet)).toEqual([`exit ${quiet} 137`]);
    expect(JSON.stringify(exitRecord(scene, quiet))).toMatch(/"oom_?killed":false/i);
    for (const id of [quiet, greedy]) await scene.remove(id);
    events.kill("SIGKILL");
  });
});
