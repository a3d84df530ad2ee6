/** A publisher with a manager that may be away, hung or young, and a store that remembers. */

import { silentLogger } from "../../src/base/log.ts";
import type { EventsService } from "../../src/event/connection.ts";
import type { JournalEntry, JournalStore } from "../../src/event/journal.ts";
import { Publisher, type PublisherOptions } from "../../src/event/publisher.ts";
import { taskStart } from "../../src/event/task-event.ts";
import { TaskStart } from "../../src/gen/containerd/events/task.ts";
import type { Envelope } from "../../src/gen/containerd/types/event.ts";

export const event = (pid: number) => taskStart({ containerId: "c", pid });
export const pidOf = (envelope: Envelope) =>
  TaskStart.decode(envelope.event?.value ?? new Uint8Array()).pid;

/** A manager that takes events when it is up. */
export class FakeManager {
  readonly taken: Envelope[] = [];
  isUp = true;
  failures = 0;
  /** As {@link EventsService.ageMs}. */
  ageMs: number | undefined;
  connections = 0;
  refusals = 0;
  /** Ends the connections that there are. */
  end: () => void = () => {};
  readonly #expected = new Map<number, () => void>();

  readonly connect = async (): Promise<EventsService> => {
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

export function publisher(
  manager: FakeManager,
  options: Partial<PublisherOptions> = {},
): Publisher {
  return new Publisher({
    namespace: "ns",
    connect: manager.connect,
    log: silentLogger,
    retryDelaysMs: [1],
    ...options,
  });
}

/** A store that remembers what it was told. */
export class FakeStore implements JournalStore {
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

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(1);
}
