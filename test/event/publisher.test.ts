import { describe, expect, test } from "bun:test";
import { Inventory } from "../../src/base/inventory.ts";
import { silentLogger } from "../../src/base/log.ts";
import type { EventsService } from "../../src/event/connection.ts";
import { Journal } from "../../src/event/journal.ts";
import { Publisher } from "../../src/event/publisher.ts";
import { taskExit } from "../../src/event/task-event.ts";
import type { Envelope } from "../../src/gen/containerd/types/event.ts";
import { event, FakeManager, FakeStore, pidOf, publisher, until } from "./kit.ts";

describe("Publisher", () => {
  test("an event carries its topic, namespace, type name and time", async () => {
    const manager = new FakeManager();
    const before = BigInt(Math.floor(Date.now() / 1000));
    publisher(manager).publish(
      taskExit({ containerId: "c", id: "e", pid: 3, exitStatus: 7, exitedAt: undefined }),
      "/b",
    );
    await manager.received(1);
    expect(manager.taken[0]).toMatchObject({ topic: "/tasks/exit", namespace: "ns" });
    expect(manager.taken[0]?.event?.typeUrl).toBe("containerd.events.TaskExit");
    expect(manager.taken[0]?.timestamp?.seconds).toBeGreaterThanOrEqual(before);
  });

  test("events arrive in order, once each, across failures and a manager that was down", async () => {
    const manager = new FakeManager();
    const subject = publisher(manager);
    manager.isUp = false;
    for (let pid = 1; pid <= 50; pid++) subject.publish(event(pid), "/b");
    manager.isUp = true;
    manager.failures = 5;
    for (let pid = 51; pid <= 100; pid++) subject.publish(event(pid), "/b");
    await manager.received(100);
    expect(manager.taken.map(pidOf)).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
  });

  test("a full journal gives up the oldest, counts it, and keeps the order", async () => {
    const manager = new FakeManager();
    manager.isUp = false;
    const subject = publisher(manager, { bounds: { entriesMax: 10, bytesMax: 1 << 20 } });
    for (let pid = 1; pid <= 30; pid++) subject.publish(event(pid), "/b");
    expect(subject.dropped).toBe(20);
    manager.isUp = true;
    await manager.received(10);
    expect(manager.taken.map(pidOf)).toEqual([1, 22, 23, 24, 25, 26, 27, 28, 29, 30]);
  });

  test("stop() waits for what is pending, but not for ever", async () => {
    const manager = new FakeManager();
    const subject = publisher(manager);
    subject.publish(event(1), "/b");
    await subject.stop(1000);
    expect(manager.taken.length).toBe(1);
    const down = new FakeManager();
    down.isUp = false;
    const other = publisher(down);
    other.publish(event(1), "/b");
    await other.stop(5);
    expect(other.pending).toBe(1);
  });

  test("a journal is bounded in bytes too", () => {
    const manager = new FakeManager();
    manager.isUp = false;
    const subject = publisher(manager, { bounds: { entriesMax: 1000, bytesMax: 5000 } });
    for (let pid = 1; pid <= 100; pid++) subject.publish(event(pid), "/b");
    expect(subject.pending).toBeLessThan(26);
    expect(subject.pending + subject.dropped).toBe(100);
  });

  test("a manager that takes events costs no write", async () => {
    const manager = new FakeManager();
    const store = new FakeStore();
    const subject = publisher(manager, { store, momentMs: 60_000 });
    for (let pid = 1; pid <= 20; pid++) subject.publish(event(pid), "/b");
    await manager.received(20);
    expect(store.kept.size).toBe(0);
  });

  test("events are kept as long as the manager is down, and let go one by one", async () => {
    const manager = new FakeManager();
    manager.isUp = false;
    const store = new FakeStore();
    const subject = publisher(manager, { store });
    for (let pid = 1; pid <= 3; pid++) subject.publish(event(pid), "/b");
    await until(() => store.kept.size === 3);
    subject.publish(event(4), "/b");
    expect([...store.kept]).toEqual([1, 2, 3, 4]);
    manager.isUp = true;
    await manager.received(4);
    await until(() => store.kept.size === 0);
    expect(subject.pending).toBe(0);
  });

  test("a manager that accepts and never answers delays nobody, and events are kept within a moment", async () => {
    const store = new FakeStore();
    const hung = Promise.withResolvers<void>();
    const connect = async (): Promise<EventsService> => ({
      forward: () => hung.promise,
      close: () => hung.reject(new Error("closed")),
    });
    const subject = publisher(new FakeManager(), { connect, store, momentMs: 1 });
    subject.publish(event(1), "/b");
    subject.publish(event(2), "/b");
    await until(() => store.kept.size === 2);
    expect(subject.pending).toBe(2);
    await subject.stop(1);
    expect([...store.kept]).toEqual([1, 2]);
    expect(store.isClosed).toBe(true);
  });

  test("a manager that hangs for hundreds of events has them all in order once it answers again", async () => {
    const manager = new FakeManager();
    let hung: PromiseWithResolvers<void> | undefined = Promise.withResolvers<void>();
    const connect = async (): Promise<EventsService> => {
      const service = await manager.connect();
      const forward = async (envelope: Envelope) => {
        await hung?.promise;
        await service.forward(envelope);
      };
      return { ...service, forward };
    };
    const subject = publisher(manager, { connect, store: new FakeStore(), momentMs: 1 });
    for (let pid = 1; pid <= 500; pid++) subject.publish(event(pid), "/b");
    await until(() => manager.connections > 0);
    expect(subject).toMatchObject({ pending: 500, dropped: 0 });
    hung.resolve();
    hung = undefined;
    await manager.received(500);
    expect(manager.taken.map(pidOf)).toEqual(Array.from({ length: 500 }, (_, index) => index + 1));
  });

  test("an end with a manager that never came leaves everything in the store", async () => {
    const manager = new FakeManager();
    manager.isUp = false;
    const store = new FakeStore();
    const subject = publisher(manager, { store, retryDelaysMs: [60_000] });
    for (let pid = 1; pid <= 5; pid++) subject.publish(event(pid), "/b");
    await subject.stop(1);
    expect([...store.kept]).toEqual([1, 2, 3, 4, 5]);
  });

  test("a successor sends what is left, and numbers go on", async () => {
    const manager = new FakeManager();
    manager.isUp = false;
    const first = publisher(manager);
    for (let pid = 1; pid <= 3; pid++) first.publish(event(pid), "/b");
    const { state } = first;
    await first.stop(1);
    manager.isUp = true;
    const second = publisher(manager, { journal: state });
    second.publish(event(4), "/b");
    expect(second.state.next).toBe(5);
    await manager.received(4);
    expect(manager.taken.map(pidOf)).toEqual([1, 2, 3, 4]);
  });

  test("an event is under way from the moment that it is published", async () => {
    const manager = new FakeManager();
    const subject = publisher(manager);
    const obstacles = () => {
      const inventory = new Inventory();
      subject.inspect(inventory);
      return inventory.obstacles.length;
    };
    subject.publish(event(1), "/b");
    expect(obstacles()).toBe(1);
    await subject.drain(60_000);
    expect(obstacles()).toBe(0);
  });

  test("an event that waits for a manager's listeners is not under way, and a successor may send it", async () => {
    const manager = new FakeManager();
    manager.ageMs = 0;
    const inherited = new Journal().state;
    const subject = publisher(manager, { journal: inherited, settleMs: 3_600_000 });
    subject.publish(event(1), "/b");
    const inventory = () => {
      const looked = new Inventory();
      subject.inspect(looked);
      return looked;
    };
    await until(() => inventory().obstacles.length === 0);
    expect(manager.connections).toBe(1);
    expect(inventory().errands.length).toBe(1);
    const successor = publisher(manager, { journal: subject.state, settleMs: 0 });
    await successor.drain(60_000);
    expect(manager.taken.map(pidOf)).toEqual([1]);
  });

  test("an event that was taken is told of as one that waits at no instant", async () => {
    const manager = new FakeManager();
    const subject = publisher(manager);
    subject.publish(event(1), "/b");
    const nextTurn = new Promise((resolve) => setImmediate(resolve));
    for (let rounds = 0; rounds < 100; rounds++) {
      await (rounds === 50 ? nextTurn : Promise.resolve());
      const inventory = new Inventory();
      subject.inspect(inventory);
      if (inventory.obstacles.length === 0) expect(manager.taken.length + subject.pending).toBe(1);
    }
    expect(manager.taken.length).toBe(1);
  });

  test("without a manager nothing is kept", () => {
    const subject = new Publisher({ namespace: "n", connect: undefined, log: silentLogger });
    subject.publish(event(1), "/b");
    expect(subject.pending).toBe(0);
  });
});
