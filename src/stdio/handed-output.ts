/** Output by hand-over: the client's FIFO itself is the container's stdout or stderr, and nothing is copied. */

import type { Inventory } from "../base/inventory.ts";
import type { Logger } from "../base/log.ts";
import { record, type Shaped } from "../base/shape.ts";
import type { OwnedFd } from "../linux/fd.ts";
import { growPipe } from "../linux/pipe.ts";
import type { Poller } from "../linux/poller.ts";
import {
  type EndOwner,
  type Endpoint,
  giveTo,
  openContainerWriter,
  openReader,
} from "./endpoint.ts";
import { FifoHolder } from "./fifo-holder.ts";
import type { NamedFd } from "./named-fd.ts";
import type { Part } from "./part.ts";
import { handedOutputFields } from "./part-state.ts";

const handedOutputState = record(handedOutputFields);

/**
 * As much as is in flight where a shim copies from a pipe of its own: then neither the process nor its client
 * sleeps until the other has filled or emptied the FIFO, and the bytes flow three times as fast.
 */
const FIFO_BYTES = 128 * 1024;

/** Opens the holder, then the container's end, which therefore does not wait for a reader. */
export function handOverOutput(
  endpoint: Endpoint,
  options: {
    readonly name: string;
    readonly owner: EndOwner;
    readonly poller: Poller;
    readonly log: Logger;
  },
): { readonly part: Part; readonly childEnd: OwnedFd } {
  using undo = new DisposableStack();
  const reader = openReader(endpoint);
  growPipe(reader.fd, FIFO_BYTES);
  const holder = undo.use(new FifoHolder(reader, options.poller, options.log));
  const childEnd = undo.use(openContainerWriter(endpoint));
  giveTo(options.owner, childEnd.fd);
  undo.move();
  return { part: new HandedOutput(options.name, holder), childEnd };
}

/** One output of a process that writes to its client's FIFO itself. */
export class HandedOutput implements Part {
  readonly #name: string;
  readonly #holder: FifoHolder;

  constructor(name: string, holder: FifoHolder) {
    this.#name = name;
    this.#holder = holder;
  }

  static restore(
    { name, holder }: Shaped<typeof handedOutputState>,
    context: { readonly poller: Poller; readonly log: Logger },
  ): HandedOutput {
    return new HandedOutput(name, FifoHolder.restore(holder, context.poller, context.log));
  }

  snapshot(inventory: Inventory) {
    const name = this.#name;
    return { kind: "handedOutput", name, holder: this.#holder.snapshot(name, inventory) } as const;
  }

  /** When the last writer is gone, a background child too, and the client is there to read what is unread. */
  get drained(): Promise<void> {
    return this.#holder.untilTaken();
  }

  get isBeingRead(): boolean {
    return this.#holder.isBeingRead;
  }

  attach(): void {
    this.#holder.watchWriters();
  }

  processExited(): void {
    this.#holder.processExited();
  }

  async close(): Promise<void> {
    this.#holder[Symbol.dispose]();
  }

  descriptors(): readonly NamedFd[] {
    const { end } = this.#holder;
    return end === undefined ? [] : [{ name: `${this.#name}-holder`, fd: end.fd }];
  }
}
