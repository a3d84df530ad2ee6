/**
 * Input: the client's stdin FIFO, moved into a pipe of the container's own.
 *
 * The FIFO is not handed over: a process that reopens /dev/stdin (`cat /dev/stdin`) would block in open(2)
 * forever once the client is gone, because opening a FIFO without writers blocks and opening a pipe does
 * not (fifo(7)). Between two pipes bytes are moved without being copied.
 */

import type { Inventory } from "../base/inventory.ts";
import type { Logger } from "../base/log.ts";
import { record, type Shaped } from "../base/shape.ts";
import { O_NONBLOCK, O_WRONLY, OwnedFd, openFd } from "../linux/fd.ts";
import type { Poller } from "../linux/poller.ts";
import {
  type EndOwner,
  type Endpoint,
  findEndpoint,
  openContainerPipe,
  openReader,
} from "./endpoint.ts";
import { type NamedFd, openOnes } from "./named-fd.ts";
import type { Part } from "./part.ts";
import { type InputSourceState, relayedInputFields } from "./part-state.ts";
import { CLOSED, Relay } from "./relay.ts";

const relayedInputState = record(relayedInputFields);

/** The client's side of stdin: what to read from, and what keeps it from ending while a client reconnects. */
export class InputSource implements Disposable {
  readonly isFifo: boolean;
  readonly #reader: OwnedFd;
  readonly #holder: OwnedFd | undefined;

  private constructor(reader: OwnedFd, holder: OwnedFd | undefined) {
    this.#reader = reader;
    this.#holder = holder;
    this.isFifo = holder !== undefined;
  }

  /** Opens `path` without waiting for a client. Throws ShimError when nothing is there. */
  static open(path: string): InputSource {
    using endpoint: Endpoint = findEndpoint(path, "stdin");
    const reader = openReader(endpoint);
    if (!endpoint.isFifo) return new InputSource(reader, undefined);
    try {
      const holder = openFd(`/proc/self/fd/${endpoint.handle.fd}`, O_WRONLY | O_NONBLOCK);
      return new InputSource(reader, holder);
    } catch (error) {
      reader[Symbol.dispose]();
      throw error;
    }
  }

  static restore({ reader, holder, isFifo }: InputSourceState): InputSource {
    return new InputSource(OwnedFd.restore(reader), isFifo ? OwnedFd.restore(holder) : undefined);
  }

  snapshot(inventory: Inventory): InputSourceState {
    return {
      reader: inventory.keep("stdin", this.#reader),
      holder: inventory.keep("stdin-holder", this.#holder),
      isFifo: this.isFifo,
    };
  }

  get fd(): number {
    return this.#reader.isOpen ? this.#reader.fd : CLOSED;
  }

  /** From now on the input ends when the client closes, or has closed. */
  letEnd(): void {
    this.#holder?.[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.#holder?.[Symbol.dispose]();
    this.#reader[Symbol.dispose]();
  }

  descriptors(): readonly NamedFd[] {
    return openOnes({ stdin: this.#reader, "stdin-holder": this.#holder });
  }
}

/** Stdin of a process without a terminal. */
export interface InputPart extends Part {
  closeStdin(): void;
}

/** Opens `path` and the pipe to the container. Throws ShimError when nothing is at the path. */
export function relayInput(
  path: string,
  options: { readonly owner: EndOwner; readonly poller: Poller; readonly log: Logger },
): { readonly part: InputPart; readonly childEnd: OwnedFd } {
  const source = InputSource.open(path);
  try {
    const { ours, theirs } = openContainerPipe("writer", options.owner);
    return { part: new RelayedInput(source, ours, options), childEnd: theirs };
  } catch (error) {
    source[Symbol.dispose]();
    throw error;
  }
}

/** Stdin of a process without a terminal, from the client's FIFO to a pipe. */
export class RelayedInput implements InputPart {
  readonly drained: Promise<void> = Promise.resolve();
  readonly #source: InputSource;
  readonly #sink: OwnedFd;
  readonly #relay: Relay;

  constructor(
    source: InputSource,
    sink: OwnedFd,
    { poller, log }: { readonly poller: Poller; readonly log: Logger },
  ) {
    this.#source = source;
    this.#sink = sink;
    this.#relay = new Relay({
      poller,
      source: source.fd,
      sink: sink.isOpen ? sink.fd : CLOSED,
      arePipes: source.isFifo,
      // Either the client has ended it, or it has written to a process that has closed its stdin: then
      // its next write must fail, so the FIFO is let go. Not earlier: a client that comes late would wait
      // in open(2) for a reader that never comes.
      onEnd: (end) => {
        if (end.kind === "sourceFailed")
          log.warn("Cannot read stdin", { error: String(end.error) });
        this.#release();
      },
    });
  }

  static restore(
    state: Shaped<typeof relayedInputState>,
    context: { readonly poller: Poller; readonly log: Logger },
  ): RelayedInput {
    const source = InputSource.restore(state.source);
    const input = new RelayedInput(source, OwnedFd.restore(state.sink), context);
    input.#relay.continue(state.relay);
    return input;
  }

  snapshot(inventory: Inventory) {
    return {
      kind: "relayedInput",
      source: this.#source.snapshot(inventory),
      sink: inventory.keep("stdin-pipe", this.#sink),
      relay: this.#relay.snapshot(inventory),
    } as const;
  }

  attach(): void {
    this.#relay.start();
  }

  closeStdin(): void {
    this.#source.letEnd();
  }

  processExited(): void {
    // Others may share its stdin; when nobody reads any more, the kernel tells the relay.
  }

  async close(): Promise<void> {
    this.#relay[Symbol.dispose]();
    this.#release();
  }

  descriptors(): readonly NamedFd[] {
    return [...this.#source.descriptors(), ...openOnes({ "stdin-pipe": this.#sink })];
  }

  #release(): void {
    this.#sink[Symbol.dispose]();
    this.#source[Symbol.dispose]();
  }
}
