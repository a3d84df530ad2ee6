/** Output by relay: a pipe from the container, copied into a sink. */

import type { Logger } from "../base/log.ts";
import type { OwnedFd } from "../linux/fd.ts";
import type { Poller } from "../linux/poller.ts";
import { type EndOwner, openContainerPipe } from "./endpoint.ts";
import { type NamedFd, openOnes, type Part } from "./part.ts";
import { describeEnd, Relay, type RelayEnd } from "./relay.ts";
import type { Sink } from "./sink.ts";

/** Makes the pipe. Takes over `sink`, also when it throws. */
export function relayOutput(
  sink: Sink,
  options: {
    readonly name: string;
    readonly owner: EndOwner;
    readonly poller: Poller;
    readonly log: Logger;
  },
): { readonly part: Part; readonly childEnd: OwnedFd } {
  try {
    const { ours, theirs } = openContainerPipe("reader", options.owner);
    return { part: new RelayedOutput(ours, sink, options), childEnd: theirs };
  } catch (error) {
    sink.close();
    throw error;
  }
}

class RelayedOutput implements Part {
  readonly #name: string;
  readonly #log: Logger;
  readonly #source: OwnedFd;
  readonly #sink: Sink;
  readonly #relay: Relay;
  readonly #ended = Promise.withResolvers<void>();

  constructor(
    source: OwnedFd,
    sink: Sink,
    options: { readonly name: string; readonly poller: Poller; readonly log: Logger },
  ) {
    this.#name = options.name;
    this.#log = options.log;
    this.#source = source;
    this.#sink = sink;
    this.#relay = new Relay({
      poller: options.poller,
      source: source.fd,
      sink: sink.fd,
      take: (bytes) => sink.take(bytes),
      arePipes: sink.isFifo,
      onEnd: (end) => this.#relayEnded(end),
      onSinkError: (error, bytes) => sink.refused(error, bytes),
    });
  }

  /** When the last writer is gone, a background child too, and every byte is with the client. */
  get drained(): Promise<void> {
    return this.#ended.promise;
  }

  get lostBytes(): number {
    return this.#sink.lostBytes;
  }

  attach(): void {
    this.#relay.start();
  }

  processExited(): void {
    // Others may still write; the end of file tells when none does.
  }

  async close(): Promise<void> {
    this.#relay[Symbol.dispose]();
    this.#source[Symbol.dispose]();
    this.#sink.close();
    this.#ended.resolve();
  }

  descriptors(): readonly NamedFd[] {
    return [...openOnes({ [`${this.#name}-pipe`]: this.#source }), ...this.#sink.descriptors()];
  }

  #relayEnded(end: RelayEnd): void {
    const failure = describeEnd(end);
    if (failure !== undefined) {
      this.#log.error("Output relay failed", { stream: this.#name, error: failure });
    }
    this.#source[Symbol.dispose]();
    this.#sink.finish();
    this.#ended.resolve();
  }
}
