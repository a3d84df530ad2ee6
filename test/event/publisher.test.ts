import { describe, expect, test } from "bun:test";
import { silentLogger } from "../../src/base/log.ts";
import { type EventSink, Publisher } from "../../src/event/publisher.ts";
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
  readonly #expected = new Map<number, () => void>();

  readonly connect = async (): Promise<EventSink> => {
    if (!this.isUp) throw new Error("connection refused");
    return {
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

function publisher(manager: FakeManager, journalLengthMax = 1000): Publisher {
  return new Publisher({
    namespace: "ns",
    connect: manager.connect,
    log: silentLogger,
    retryDelaysMs: [1],
    journalLengthMax,
  });
}

describe("Publisher", () => {
  test("an event carries its topic, namespace, type name and time", async () => {
    const manager = new FakeManager();
    const before = BigInt(Math.floor(Date.now() / 1000));
    publisher(manager).publish(
      taskExit({ containerId: "c", id: "e", pid: 3, exitStatus: 7, exitedAt: undefined }),
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
    for (let pid = 1; pid <= 50; pid++) subject.publish(event(pid));
    manager.isUp = true;
    manager.failures = 5;
    for (let pid = 51; pid <= 100; pid++) subject.publish(event(pid));
    await manager.received(100);
    expect(manager.taken.map(pidOf)).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
  });

  test("a full journal gives up the oldest, counts it, and keeps the order", async () => {
    const manager = new FakeManager();
    manager.isUp = false;
    const subject = publisher(manager, 10);
    for (let pid = 1; pid <= 30; pid++) subject.publish(event(pid));
    expect(subject.dropped).toBe(20);
    manager.isUp = true;
    await manager.received(10);
    expect(manager.taken.map(pidOf)).toEqual([1, 22, 23, 24, 25, 26, 27, 28, 29, 30]);
  });

  test("stop() waits for what is pending, but not for ever", async () => {
    const manager = new FakeManager();
    const subject = publisher(manager);
    subject.publish(event(1));
    await subject.stop(1000);
    expect(manager.taken.length).toBe(1);
    const down = new FakeManager();
    down.isUp = false;
    const other = publisher(down);
    other.publish(event(1));
    await other.stop(5);
    expect(other.pending).toBe(1);
  });

  test("without a manager nothing is kept", () => {
    const subject = new Publisher({ namespace: "n", connect: undefined, log: silentLogger });
    subject.publish(event(1));
    expect(subject.pending).toBe(0);
  });
});
