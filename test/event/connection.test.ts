/** When an event reaches a manager that is new, away, or has just come back. */

import { describe, expect, test } from "bun:test";
import { silentLogger } from "../../src/base/log.ts";
import { type EventsService, ManagerConnection } from "../../src/event/connection.ts";
import { Journal } from "../../src/event/journal.ts";
import type { Envelope } from "../../src/gen/containerd/types/event.ts";
import { event, FakeManager, FakeStore, pidOf, publisher, until } from "./kit.ts";

const { event: encoded, topic } = event(1);
const envelope: Envelope = { timestamp: undefined, namespace: "ns", topic, event: encoded };

function connection(connect: () => Promise<EventsService>): ManagerConnection {
  const options = { log: silentLogger, isInherited: false, retryDelaysMs: [60_000] };
  return new ManagerConnection({ ...options, connect });
}

describe("ManagerConnection", () => {
  test("a manager that has just come back is told only when its listeners had time to come back too", async () => {
    const manager = new FakeManager();
    manager.isUp = false;
    manager.ageMs = 0;
    const subject = publisher(manager, { settleMs: 30 });
    subject.publish(event(1), "/b");
    await until(() => manager.refusals === 1);
    const refusedAtMs = performance.now();
    manager.isUp = true;
    await manager.received(1);
    expect(performance.now() - refusedAtMs).toBeGreaterThan(20);
    expect(manager.connections).toBe(1);
  });

  test("a manager that was away a moment ago has just come back, whatever the time of day says", async () => {
    const manager = new FakeManager();
    manager.isUp = false;
    // As when the clock was set forward since the service came.
    manager.ageMs = 86_400_000;
    const subject = publisher(manager, { settleMs: 50 });
    subject.publish(event(1), "/b");
    await until(() => manager.refusals > 0);
    const refusedAtMs = performance.now();
    manager.isUp = true;
    await manager.received(1);
    expect(performance.now() - refusedAtMs).toBeGreaterThan(40);
  });

  test("a clock that was set back does not keep a manager waiting for longer", async () => {
    const manager = new FakeManager();
    manager.failures = 1;
    manager.ageMs = -86_400_000;
    publisher(manager, { settleMs: 30 }).publish(event(1), "/b");
    await manager.received(1);
    expect(manager.connections).toBe(2);
  });

  test("a manager that is new, or that has been back for long, is told at once", async () => {
    const first = new FakeManager();
    first.ageMs = 0;
    publisher(first, { settleMs: 3_600_000 }).publish(event(1), "/b");
    await first.received(1);
    const back = new FakeManager();
    back.failures = 1;
    back.ageMs = 3_600_000;
    publisher(back, { settleMs: 3_600_000 }).publish(event(1), "/b");
    await back.received(1);
    expect(back.connections).toBe(2);
  });

  test("stop() does not wait for listeners", async () => {
    const manager = new FakeManager();
    manager.ageMs = 0;
    manager.failures = 1;
    const subject = publisher(manager, { settleMs: 3_600_000 });
    subject.publish(event(1), "/b");
    await until(() => manager.connections === 2);
    expect(subject.pending).toBe(1);
    await subject.stop(60_000);
    expect(manager.taken.map(pidOf)).toEqual([1]);
  });

  test("a connection is made ahead of an event that is about to come, and used for it", async () => {
    const manager = new FakeManager();
    const subject = publisher(manager);
    subject.prepare();
    subject.prepare();
    await until(() => manager.connections === 1);
    await Bun.sleep(0);
    subject.publish(event(1), "/b");
    await manager.received(1);
    subject.prepare();
    expect(manager.connections).toBe(1);
  });

  test("a manager that is away while a connection is made ahead gets the event when it is back", async () => {
    const manager = new FakeManager();
    manager.isUp = false;
    const subject = publisher(manager);
    subject.prepare();
    await until(() => manager.refusals === 1);
    manager.isUp = true;
    subject.publish(event(1), "/b");
    await manager.received(1);
    expect(manager.connections).toBe(1);
  });

  test("a manager that was away while a connection was made ahead has just come back", async () => {
    const manager = new FakeManager();
    manager.isUp = false;
    manager.ageMs = 0;
    const subject = publisher(manager, { settleMs: 30 });
    subject.prepare();
    await until(() => manager.refusals === 1);
    manager.isUp = true;
    const publishedAtMs = performance.now();
    subject.publish(event(1), "/b");
    await manager.received(1);
    expect(performance.now() - publishedAtMs).toBeGreaterThan(29);
  });

  test("a process that goes on as another's gives a manager time that is no older than its listeners may be", async () => {
    const manager = new FakeManager();
    manager.ageMs = 0;
    const journal = new Journal().state;
    const subject = publisher(manager, { journal, settleMs: 30 });
    const publishedAtMs = performance.now();
    subject.publish(event(1), "/b");
    await manager.received(1);
    expect(performance.now() - publishedAtMs).toBeGreaterThan(29);
  });

  test("a connection that has ended is not used for the next event, and nothing is kept on disk for it", async () => {
    const manager = new FakeManager();
    const store = new FakeStore();
    const subject = publisher(manager, { store });
    subject.publish(event(1), "/b");
    await manager.received(1);
    manager.end();
    await Bun.sleep(0);
    subject.publish(event(2), "/b");
    await manager.received(2);
    expect(manager.connections).toBe(2);
    expect(store.saves).toBe(0);
  });

  test("a manager whose connection has ended needs time when it is back", async () => {
    const manager = new FakeManager();
    manager.ageMs = 0;
    const subject = publisher(manager, { settleMs: 30 });
    subject.publish(event(1), "/b");
    await manager.received(1);
    manager.end();
    await Bun.sleep(0);
    const publishedAtMs = performance.now();
    subject.publish(event(2), "/b");
    await manager.received(2);
    expect(performance.now() - publishedAtMs).toBeGreaterThan(29);
  });

  test("one that is closed while nobody answers gives the event up, and a late answer is let go", async () => {
    const isClosed = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<EventsService>();
    const subject = connection(() => answer.promise);
    const delivery = subject.deliver(envelope, () => {});
    subject.close();
    const forward = () => Promise.reject(new Error("closed"));
    answer.resolve({ forward, close: isClosed.resolve });
    await isClosed.promise;
    expect(await delivery).toBe(false);
  });

  test("one that is closed between two attempts makes no more of them", async () => {
    const manager = new FakeManager();
    manager.isUp = false;
    const subject = connection(manager.connect);
    let failures = 0;
    const delivery = subject.deliver(envelope, () => failures++);
    await until(() => subject.isWaiting);
    subject.close();
    expect(await delivery).toBe(false);
    expect([manager.refusals, failures]).toEqual([1, 1]);
  });
});
