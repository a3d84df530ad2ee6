/** A manager's event service: takes events from shims, and records when an exit arrived. */

import { TaskExit } from "../../src/gen/containerd/events/task.ts";
import {
  EventsDefinition,
  type ForwardRequest,
} from "../../src/gen/containerd/services/events/ttrpc/v1/events.ts";
import { mountService } from "../../src/rpc/service.ts";
import { listenBun } from "../../src/rpc/ttrpc/bun.ts";
import { TtrpcServer } from "../../src/rpc/ttrpc/server.ts";

const EXIT_TYPE = "containerd.events.TaskExit";

export class EventService implements Disposable {
  readonly #server: TtrpcServer;
  readonly #awaited = new Map<string, (atMs: number) => void>();
  /** As passed to shims. */
  readonly address: string;

  constructor(address: string) {
    this.address = address;
    this.#server = new TtrpcServer({
      services: [mountService(EventsDefinition, { forward: (request) => this.#forward(request) })],
    });
    listenBun(this.#server, { unix: address });
  }

  /**
   * Resolves with the time (`performance.now`) at which the exit of a process is reported. To be called
   * before the process can end; the exit of a container's init has the container's id twice.
   */
  exitOf(containerId: string, processId = containerId): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    this.#awaited.set(`${containerId}/${processId}`, resolve);
    return promise;
  }

  [Symbol.dispose](): void {
    this.#server.close();
  }

  #forward({ envelope }: ForwardRequest): Record<string, never> {
    const atMs = performance.now();
    if (envelope?.event?.typeUrl.endsWith(EXIT_TYPE)) {
      const { containerId, id } = TaskExit.decode(envelope.event.value);
      const key = `${containerId}/${id}`;
      this.#awaited.get(key)?.(atMs);
      this.#awaited.delete(key);
    }
    return {};
  }
}
