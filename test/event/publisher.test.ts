import { describe, expect, test } from "bun:test";
import { Inventory } from "../../src/base/inventory.ts";
import { silentLogger } from "../../src/base/log.ts";
import { Journal, type JournalEntry } from "../../src/event/journal.ts";
import type { JournalStore } from "../../src/event/journal-file.ts";
import { type EventSink, Publisher, type PublisherOptions } from "../../src/event/publisher.ts";
import { taskExit, taskStart } from "../../src/event/task-event.ts";
import { TaskStart } from "../../src/gen/containerd/events/task.ts";
import type { Envelope } from "../../src/gen/containerd/types/event.ts";

const event = (pid: number) => taskStart({ containerId: "c", pid });
const pidOf = (envelope: Envelope) =>
  TaskStart.decode(envelope.event?.value ?? new Uint8Array()).pid;

/** A manager that takes events when it is up. */
class FakeManager {
  readonly taken: Envelope[] = [];
  isUp = true;
  failures = 0;
  /** As {@link EventSink.ageMs}. */
  ageMs: number | undefined;
  connections = 0;
  refusals = 0;
  /** Ends the connections that there are. */
  end: () => void = () => {};
  readonly #expected = new Map<number, () => void>();

  readonly connect = async (): Promise<EventSink> => {
    if (!this.isUp) {
      this.refusals += 1;
      throw new Error("connection refused");
    }
    this.connections += 1;
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    this.end = resolve;
    return {
      ageMs: this.ageMs,
      closed,
      forward: async (envelope) => {
        if (!this.isUp || this.failures-- > 0) throw new Error("broken pipe");
        this.taken.push(envelope);
        this.#expected.get(this.taken.length)?.();
      },
      close: () => {},
    };
  };

  received(count: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#expected.set(count, resolve);
    if (this.taken.length >= count) resolve();
    return promise;
  }
}

function publisher(manager: FakeManager, options: Partial<PublisherOptions> = {}): Publisher {
  return new Publisher({
    namespace: "ns",
    connect: manager.connect,
    log: silentLogger,
    retryDelaysMs: [1],
    ...options,
  });
}

/** A store that remembers what it was told. */
class FakeStore implements JournalStore {
  readonly kept = new Set<number>();
  isClosed = false;
  saves = 0;

  save(entries: readonly JournalEntry[]): void {
    this.saves += 1;
    for (const { number } of entries) this.kept.add(number);
  }

  release({ number }: JournalEntry): void {
    this.kept.delete(number);
  }

  clear(): void {
    this.kept.clear();
  }

  close(): void {
    this.isClosed = true;
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(1);
}

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
    const connect = async (): Promise<EventSink> => ({
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
    const connect = async (): Promise<EventSink> => {
      const sink = await manager.connect();
      const forward = async (envelope: Envelope) => {
        await hung?.promise;
        await sink.forward(envelope);
      };
      return { ...sink, forward };
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

  test("without a manager nothing is kept", () => {
    const subject = new Publisher({ namespace: "n", connect: undefined, log: silentLogger });
    subject.publish(event(1), "/b");
    expect(subject.pending).toBe(0);
  });
});
