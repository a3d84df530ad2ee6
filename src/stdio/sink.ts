/** Where a relay's output ends up: the client's FIFO, a file or device, a logger's pipe, or nowhere. */

import { messageOf } from "../base/error.ts";
import type { Inventory } from "../base/inventory.ts";
import { within } from "../base/limit.ts";
import type { Logger } from "../base/log.ts";
import { flag, maybe, plain, record, type Shaped, whole, word } from "../base/shape.ts";
import { OwnedFd, setNonBlocking } from "../linux/fd.ts";
import type { Poller } from "../linux/poller.ts";
import { type Endpoint, openReader, openWriter } from "./endpoint.ts";
import { FifoHolder, fifoHolderState, READER_LIMIT_MS } from "./fifo-holder.ts";
import { type LogFile, LogStream, logStreamState } from "./log-file.ts";
import { type NamedFd, openOnes } from "./named-fd.ts";

export interface SinkContext {
  readonly poller: Poller;
  readonly log: Logger;
}

/** What a sink holds, and what it could not deliver. */
export const sinkState = record({
  name: plain,
  writer: maybe(whole),
  holder: maybe(fifoHolderState),
  /** Whether it had a writer in the first place. */
  goes: word("somewhere", "nowhere"),
  /** Where records of it go into a log file. */
  stream: maybe(logStreamState),
  lostBytes: whole,
  hasFinished: flag,
});
export type SinkState = Shaped<typeof sinkState>;

/** What a restored stream may go to besides what it holds itself. */
export interface RestoreContext extends SinkContext {
  readonly file?: LogFile | undefined;
}

/** The receiving side of an output relay. */
export class Sink {
  readonly #name: string;
  readonly #log: Logger;
  readonly #writer: OwnedFd | undefined;
  readonly #holder: FifoHolder | undefined;
  readonly #stream: LogStream | undefined;
  #lostBytes = 0;
  #hasFinished = false;

  private constructor(options: {
    readonly name: string;
    readonly log: Logger;
    readonly writer?: OwnedFd;
    readonly holder?: FifoHolder;
    readonly stream?: LogStream;
  }) {
    this.#name = options.name;
    this.#log = options.log;
    this.#writer = options.writer;
    this.#holder = options.holder;
    this.#stream = options.stream;
  }

  /** Opens a FIFO with a holder, so that a reader may come, go and come again; anything else for appending. */
  static open(endpoint: Endpoint, name: string, context: SinkContext): Sink {
    const { log, poller } = context;
    if (!endpoint.isFifo) return new Sink({ name, log, writer: openWriter(endpoint) });
    const holder = new FifoHolder(openReader(endpoint), poller, log);
    try {
      return new Sink({ name, log, holder, writer: openWriter(endpoint) });
    } catch (error) {
      holder[Symbol.dispose]();
      throw error;
    }
  }

  /** Takes over an open descriptor, which becomes non-blocking. */
  static over(writer: OwnedFd, name: string, log: Logger): Sink {
    setNonBlocking(writer.fd, true);
    return new Sink({ name, log, writer });
  }

  /** Writes records to a log file, which its opener closes. */
  static into(stream: LogStream, name: string, log: Logger): Sink {
    return new Sink({ name, log, stream });
  }

  /** Takes everything and keeps nothing. */
  static nowhere(name: string, log: Logger): Sink {
    return new Sink({ name, log });
  }

  /** A sink that continues where another left off; `file` is the one that its process writes records to. */
  static restore(state: SinkState, { poller, log, file }: RestoreContext): Sink {
    const { name, holder, goes, stream } = state;
    const sink = new Sink({
      ...{ name, log },
      ...(goes === "somewhere" && { writer: OwnedFd.restore(state.writer) }),
      ...(holder !== undefined && { holder: FifoHolder.restore(holder, poller, log) }),
      ...(stream !== undefined && file && { stream: LogStream.restore(file, stream) }),
    });
    sink.#lostBytes = state.lostBytes;
    sink.#hasFinished = state.hasFinished;
    return sink;
  }

  /** For {@link restore}. */
  snapshot(inventory: Inventory): SinkState {
    return {
      name: this.#name,
      writer: inventory.keep(this.#name, this.#writer),
      holder: this.#holder?.snapshot(this.#name, inventory),
      goes: this.#writer === undefined ? "nowhere" : "somewhere",
      stream: this.#stream?.snapshot(),
      lostBytes: this.#lostBytes,
      hasFinished: this.#hasFinished,
    };
  }

  /** To write to; undefined is nowhere, or {@link take}. */
  get fd(): number | undefined {
    return this.#writer?.isOpen ? this.#writer.fd : undefined;
  }

  /** Takes bytes that are not written to {@link fd}. */
  take(bytes: Uint8Array): void {
    this.#stream?.take(bytes, (error, lost) => this.refused(error, lost));
  }

  get isFifo(): boolean {
    return this.#holder !== undefined;
  }

  /** Whether its FIFO has bytes that its reader has not read. */
  get isBeingRead(): boolean {
    return this.#holder?.isBeingRead ?? false;
  }

  /** Bytes that were refused and are lost. */
  get lostBytes(): number {
    return this.#lostBytes;
  }

  /** A write was refused (a full disk). The container must go on, so the bytes are lost, and counted. */
  refused(error: unknown, bytes: number): "discard" {
    if (this.#lostBytes === 0) {
      this.#log.error("Output is refused and lost", {
        stream: this.#name,
        error: messageOf(error),
      });
    }
    this.#lostBytes += bytes;
    return "discard";
  }

  /** The last byte is written: lets the reader have end of file, a late reader too. */
  finish(): void {
    if (!this.#hasFinished) this.#stream?.finish((error, lost) => this.refused(error, lost));
    if (this.#lostBytes > 0 && !this.#hasFinished) {
      this.#log.error("Output was lost", { stream: this.#name, bytes: this.#lostBytes });
    }
    this.#hasFinished = true;
    this.#holder?.watchWriters();
    this.#holder?.processExited();
    this.#writer?.[Symbol.dispose]();
  }

  /** After {@link finish}: resolves when somebody is there to read the rest, or nobody comes for a moment. */
  async untilTaken(): Promise<void> {
    if (!this.#hasFinished || this.#holder === undefined) return;
    await within(this.#holder.untilTaken(), READER_LIMIT_MS);
  }

  /** Lets go of everything. */
  close(): void {
    this.#writer?.[Symbol.dispose]();
    this.#holder?.[Symbol.dispose]();
  }

  descriptors(): readonly NamedFd[] {
    return openOnes({ [this.#name]: this.#writer, [`${this.#name}-holder`]: this.#holder?.end });
  }
}
