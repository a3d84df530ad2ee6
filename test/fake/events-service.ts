/** containerd's events service as a shim sees it: real sockets and frames, taken events in a list. */

import {
  EventsDefinition,
  type ForwardRequest,
} from "../../src/gen/containerd/services/events/ttrpc/v1/events.ts";
import type { Envelope } from "../../src/gen/containerd/types/event.ts";
import { mountService } from "../../src/rpc/service.ts";
import { listenBun } from "../../src/rpc/ttrpc/bun.ts";
import { TtrpcServer } from "../../src/rpc/ttrpc/server.ts";

/** A manager that takes events at a socket, or hangs. */
export class EventsService implements AsyncDisposable {
  readonly taken: Envelope[] = [];
  /** Accepts, and never answers. */
  isHung = false;
  readonly #server: TtrpcServer;
  readonly #expected = new Map<number, () => void>();
  readonly #ended = Promise.withResolvers<void>();

  constructor(path: string) {
    const forward = async ({ envelope }: ForwardRequest) => {
      if (this.isHung) await this.#ended.promise;
      if (envelope !== undefined) this.taken.push(envelope);
      this.#expected.get(this.taken.length)?.();
      return {};
    };
    this.#server = new TtrpcServer({ services: [mountService(EventsDefinition, { forward })] });
    listenBun(this.#server, { unix: path });
  }

  get topics(): readonly string[] {
    return this.taken.map(({ topic }) => topic);
  }

  /** Resolves when so many were taken in all. */
  async received(count: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#expected.set(count, resolve);
    if (this.taken.length >= count) resolve();
    await promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.resolve();
    await this.#server.shutdown(0);
  }
}
