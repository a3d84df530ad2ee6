/** Output by relay: a pipe from the container, copied into a sink. */

import type { Inventory } from "../base/inventory.ts";
import type { Logger } from "../base/log.ts";
import { record, type Shaped } from "../base/shape.ts";
import { OwnedFd, readableBytes } from "../linux/fd.ts";
import type { Poller } from "../linux/poller.ts";
import { type EndOwner, openContainerPipe } from "./endpoint.ts";
import { type NamedFd, openOnes } from "./named-fd.ts";
import type { Part } from "./part.ts";
import { relayedOutputFields } from "./part-state.ts";
import { CLOSED, describeEnd, Relay, type RelayEnd } from "./relay.ts";
import { type RestoreContext, Sink } from "./sink.ts";

const relayedOutputState = record(relayedOutputFields);

/** Creates the pipe. Takes over `sink`, even when it throws. */
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

/** One output of a process, from its pipe to a sink. */
export class RelayedOutput implements Part {
  readonly #name: string;
  readonly #log: Logger;
  readonly #source: OwnedFd;
  readonly #sink: Sink;
  readonly #relay: Relay;
  readonly #ended = Promise.withResolvers<void>();
  #hasEnded = false;

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
      source: source.isOpen ? source.fd : CLOSED,
      sink: sink.fd,
      take: (bytes) => sink.take(bytes),
      arePipes: sink.isFifo,
      onEnd: (end) => this.#relayEnded(end),
      onSinkError: (error, bytes) => sink.refused(error, bytes),
    });
  }

  static restore(state: Shaped<typeof relayedOutputState>, context: RestoreContext): RelayedOutput {
    const source = OwnedFd.restore(state.source);
    const sink = Sink.restore(state.sink, context);
    const output = new RelayedOutput(source, sink, { name: state.name, ...context });
    output.#relay.continue(state.relay);
    if (state.hasEnded) output.#finish();
    return output;
  }

  snapshot(inventory: Inventory) {
    return {
      kind: "relayedOutput",
      name: this.#name,
      source: inventory.keep(`${this.#name}-pipe`, this.#source),
      sink: this.#sink.snapshot(inventory),
      relay: this.#relay.snapshot(inventory),
      hasEnded: this.#hasEnded,
    } as const;
  }

  /** When the last writer is gone, a background child too, and the client has every byte. */
  get drained(): Promise<void> {
    return this.#ended.promise.then(() => this.#sink.untilTaken());
  }

  get isBeingRead(): boolean {
    if (!this.#sink.isFifo) return false;
    const isOnItsWay = !this.#hasEnded && readableBytes(this.#source.fd) > 0;
    return isOnItsWay || this.#relay.hasPending || this.#sink.isBeingRead;
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
    this.#finish();
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
    this.#finish();
  }

  #finish(): void {
    this.#hasEnded = true;
    this.#ended.resolve();
  }
}
