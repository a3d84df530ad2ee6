/** Events that outlive their shim: `delete` sends them, or leaves a process that does. */

import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { silentLogger } from "../../../src/base/log.ts";
import type { JournalEntry } from "../../../src/event/journal.ts";
import { BundleJournals } from "../../../src/event/journal-file.ts";
import { taskStart } from "../../../src/event/task-event.ts";
import { TaskStart } from "../../../src/gen/containerd/events/task.ts";
import { EventsService } from "../../fake/events-service.ts";
import { daemonsOf, Place, runShim, until } from "../shim-process.ts";

const COUNT = 20;

/** A bundle with events of a shim that is no more, and `delete` for it. */
class LeftPlace extends Place {
  readonly socket = join(this.path, "containerd.ttrpc");
  readonly path1 = join(this.path, "c1");
  readonly store = new BundleJournals(this.path, silentLogger);

  constructor() {
    super();
    mkdirSync(this.path1);
    const entries = Array.from({ length: COUNT }, (_, index): JournalEntry => {
      const { topic, event } = taskStart({ containerId: "c1", pid: index + 1 });
      const envelope = { timestamp: undefined, namespace: this.namespace, topic, event };
      return { number: index + 1, bundle: this.path1, envelope };
    });
    this.store.save(entries);
  }

  async delete() {
    const flags = ["-namespace", this.namespace, "-address", this.grpcAddress, "-id", "c1"];
    const run = await runShim([...flags, "-bundle", this.path1, "delete"], {
      cwd: this.path1,
      env: { TTRPC_ADDRESS: `unix://${this.socket}` },
    });
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
  }
}

const pids = ({ taken }: EventsService) =>
  taken.map(({ event }) => TaskStart.decode(event?.value ?? new Uint8Array()).pid);
const everything = Array.from({ length: COUNT }, (_, index) => index + 1);

describe("events that a dead shim has left", () => {
  test("are sent in order before delete answers, once", async () => {
    await using place = new LeftPlace();
    place.store.close();
    await using manager = new EventsService(place.socket);
    await place.delete();
    expect(pids(manager)).toEqual(everything);
    await place.delete();
    expect(manager.taken).toHaveLength(COUNT);
    expect(daemonsOf(place.namespace)).toEqual([]);
  });

  test("are left alone while a live shim has them", async () => {
    await using place = new LeftPlace();
    await using manager = new EventsService(place.socket);
    await place.delete();
    expect(manager.taken).toEqual([]);
    expect(existsSync(join(place.path1, "events.journal"))).toBe(true);
    place.store.close();
  });

  test("reach a containerd that serves only after delete, and after the bundle is gone", async () => {
    await using place = new LeftPlace();
    place.store.close();
    await place.delete();
    await place.delete(); // The first one's process has them, and keeps this one away.
    rmSync(place.path1, { recursive: true });
    await until(() => daemonsOf(place.namespace).length === 1);
    await using manager = new EventsService(place.socket);
    await manager.received(COUNT);
    await until(() => daemonsOf(place.namespace).length === 0);
    expect(pids(manager)).toEqual(everything);
  });

  test("do not hold delete up at a containerd that hangs", async () => {
    await using place = new LeftPlace();
    place.store.close();
    await using manager = new EventsService(place.socket);
    manager.isHung = true;
    await place.delete();
    // It has no command line in the moment in which it begins.
    await until(() => daemonsOf(place.namespace).length === 1);
    const [courier = 0] = daemonsOf(place.namespace);
    expect(manager.taken).toEqual([]);
    process.kill(courier, "SIGTERM");
    await until(() => daemonsOf(place.namespace).length === 0);
  });
});
