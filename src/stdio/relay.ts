/** One direction of copying between two descriptors, with back-pressure: a full sink stops the source. */

import { messageOf } from "../base/error.ts";
import type { Inventory } from "../base/inventory.ts";
import {
  base64,
  flag,
  fromBase64,
  maybe,
  record,
  type Shaped,
  toBase64,
  whole,
  word,
} from "../base/shape.ts";
import { readFd, type Transfer, writeFd } from "../linux/fd.ts";
import { growPipe, isReadable, isWritable, spliceFd } from "../linux/pipe.ts";
import type { Poller } from "../linux/poller.ts";
import { Gate } from "./gate.ts";

const CHUNK_BYTES = 64 * 1024;
/** A terminal gives at most a page per read, less a byte, so a chunk is put together from several. */
const LEAST_READ_BYTES = 4095;
/** How long chunks are moved before other descriptors get their turn. */
const TURN_MS = 2;
const SPLICE_BYTES = 1024 * 1024;
/** A stream that has moved this much gets bigger pipes: fewer wake-ups for the same bytes. */
const LONG_STREAM_BYTES = 2 * 1024 * 1024;
const LONG_STREAM_PIPE_BYTES = 1024 * 1024;

/** Stands in for a closed descriptor, in a relay that has ended. */
export const CLOSED = -1;

/** Why a relay has ended. */
export type RelayEnd =
  | { readonly kind: "sourceEnded" }
  | { readonly kind: "sourceFailed"; readonly error: unknown }
  | { readonly kind: "sinkFailed"; readonly error: unknown };

export interface RelayOptions {
  readonly poller: Poller;
  /** Lent, non-blocking (a regular file may block). */
  readonly source: number;
  /** Lent, non-blocking; undefined for {@link take}, or to discard what comes. */
  readonly sink: number | undefined;
  /** Takes all that comes, instead of a sink. The bytes are lent for the call. */
  readonly take?: (bytes: Uint8Array) => void;
  /** Called before the next chunk. */
  readonly beforeNextRead?: () => void;
  /** Whether both are pipes, so that bytes need not be copied. */
  readonly arePipes?: boolean;
  /** Called once, never after disposal. By then the relay holds nothing any more. */
  readonly onEnd: (end: RelayEnd) => void;
  /** What a failure of the source means. "pause" keeps the relay until {@link Relay.resume}. */
  readonly onSourceError?: (error: unknown) => "end" | "pause";
  /** What a failure of the sink means: the end (without this), or that these bytes are lost. */
  readonly onSinkError?: (error: unknown, lostBytes: number) => "end" | "discard";
  /** Bytes to send after the source's last, requested at its end. */
  readonly epilogue?: (lastByte: number | undefined) => Uint8Array;
}

/** A relay's state, without its ends. */
export const relayState = record({
  /** Taken from the source, and still to be written. */
  pending: base64,
  state: word("flowing", "paused", "ending", "ended"),
  endsWhenDry: flag,
  movedBytes: whole,
  lastByte: maybe(whole),
});
export type RelayState = Shaped<typeof relayState>;

/** The read buffer of all relays in turn: none leaves bytes here when it returns to the event loop. */
let sharedChunk: Uint8Array | undefined;

/** Copies until the source ends. Holds no memory while nothing is in flight. */
export class Relay implements Disposable {
  readonly #options: RelayOptions;
  readonly #sourceGate: Gate;
  readonly #sinkGate: Gate | undefined;
  /** Taken from the source, and still to be written. */
  #pending: Uint8Array = new Uint8Array(0);
  #state: "flowing" | "paused" | "ending" | "ended" = "flowing";
  #endsWhenDry = false;
  #movedBytes = 0;
  #lastByte: number | undefined;

  constructor(options: RelayOptions) {
    this.#options = options;
    const { poller, source, sink } = options;
    this.#sourceGate = new Gate({
      poller,
      fd: source,
      direction: "readable",
      onReady: () => this.#pump(),
    });
    if (sink === undefined) return;
    this.#sinkGate = new Gate({
      poller,
      fd: sink,
      direction: "writable",
      onReady: () => this.#pump(),
    });
  }

  /** Begins. */
  start(): void {
    this.#pump();
  }

  /** Continues where another relay over the same ends left off; nothing is moved within this call. */
  continue(state: RelayState): void {
    this.#pending = fromBase64(state.pending);
    this.#state = state.state;
    this.#endsWhenDry = state.endsWhenDry;
    this.#movedBytes = state.movedBytes;
    this.#lastByte = state.lastByte;
    if (this.#state === "ended") this[Symbol.dispose]();
    else if (this.#pending.length > 0) this.#sinkGate?.open();
    else if (this.#state !== "paused") this.#sourceGate.open();
  }

  /** For {@link continue}. A pause must be ended by whoever owns the relay. */
  snapshot(inventory: Inventory): RelayState {
    if (this.#sourceGate.isRunning || this.#sinkGate?.isRunning)
      inventory.addErrand("a file is copied");
    return {
      pending: toBase64(this.#pending),
      state: this.#state,
      endsWhenDry: this.#endsWhenDry,
      movedBytes: this.#movedBytes,
      lastByte: this.#lastByte,
    };
  }

  /** Whether something was taken from the source and is still to be written. */
  get hasPending(): boolean {
    return this.#pending.length > 0;
  }

  /** From now on a source that has nothing to read has ended: everyone who wrote to it is gone. */
  endWhenDry(): void {
    this.#endsWhenDry = true;
    this.resume();
  }

  /** Tries again after a pause. */
  resume(): void {
    if (this.#state === "paused") this.#state = "flowing";
    this.#pump();
  }

  [Symbol.dispose](): void {
    this.#state = "ended";
    this.#sourceGate[Symbol.dispose]();
    this.#sinkGate?.[Symbol.dispose]();
    this.#pending = new Uint8Array(0);
  }

  #pump(): void {
    const deadlineMs = performance.now() + TURN_MS;
    do {
      if (this.#state === "ended" || !this.#flush()) return;
      if (this.#state === "ending") {
        this.#end({ kind: "sourceEnded" });
        return;
      }
      if (this.#state === "paused") {
        this.#sinkGate?.shut();
        return;
      }
      if (!(this.#options.arePipes ? this.#spliceSome() : this.#copySome())) return;
      // What has ended or paused does not wait for its source.
    } while (this.#state !== "flowing" || performance.now() < deadlineMs);
    // More may be there: we are called again after the others had their turn. If there is nothing, and that
    // is the end, nobody else would tell us.
    this.#waitForSource();
    if (this.#endsWhenDry) this.#sourceGate.callNextTurn();
  }

  /** Writes what is pending; false when it must wait, or has ended. */
  #flush(): boolean {
    const { sink } = this.#options;
    while (this.#pending.length > 0) {
      const written =
        sink === undefined ? this.#hand(this.#pending) : this.#write(sink, this.#pending);
      if (written === "ended") return false;
      if (written === "again") {
        this.#sourceGate.shut();
        this.#sinkGate?.open();
        return false;
      }
      this.#pending = this.#pending.subarray(written);
    }
    if (this.#pending.byteOffset > 0) this.#pending = new Uint8Array(0); // frees the chunk
    return true;
  }

  #hand(bytes: Uint8Array): number {
    this.#options.take?.(bytes);
    return bytes.length;
  }

  #write(sink: number, bytes: Uint8Array): Transfer | "ended" {
    try {
      return writeFd(sink, bytes);
    } catch (error) {
      if (this.#options.onSinkError?.(error, bytes.length) === "discard") return bytes.length;
      this.#end({ kind: "sinkFailed", error });
      return "ended";
    }
  }

  /** Fills a chunk and writes it; true when it is worth continuing at once. */
  #copySome(): boolean {
    sharedChunk ??= new Uint8Array(CHUNK_BYTES);
    let length = 0;
    let isDry = false;
    while (CHUNK_BYTES - length >= LEAST_READ_BYTES) {
      if (length > 0) this.#options.beforeNextRead?.();
      const count = this.#read(sharedChunk.subarray(length));
      if (count === "again") {
        isDry = true;
        break;
      }
      if (count === "stop") break;
      length += count;
      // A short read was all there was, except from a terminal that is being filled. If not, the poller tells.
      isDry = length < LEAST_READ_BYTES && !this.#endsWhenDry;
      if (isDry) break;
    }
    if (length > 0) this.#lastByte = sharedChunk[length - 1];
    this.#pending = sharedChunk.subarray(0, length);
    if (this.#state === "ending") this.#appendEpilogue();
    const isFlushed = this.#flush();
    // What could not be written moves out of the shared chunk before anybody else uses it.
    if (!isFlushed) {
      this.#pending = this.#pending.slice();
      return false;
    }
    if (!isDry) return true;
    this.#waitForSource();
    return false;
  }

  /** Reads once. "stop": the source is at its end, paused or failed, and the state says which. */
  #read(buffer: Uint8Array): Transfer | "stop" {
    try {
      const count = readFd(this.#options.source, buffer);
      if (count === "again") return this.#endsWhenDry ? this.#stop("ending") : "again";
      return count === 0 ? this.#stop("ending") : count;
    } catch (error) {
      return this.#sourceFailed(error);
    }
  }

  #sourceFailed(error: unknown): "stop" {
    if (this.#endsWhenDry) return this.#stop("ending");
    if (this.#options.onSourceError?.(error) === "pause") {
      this.#sourceGate.shut();
      return this.#stop("paused");
    }
    return this.#stop("ending");
  }

  #stop(state: "ending" | "paused"): "stop" {
    this.#state = state;
    return "stop";
  }

  #appendEpilogue(): void {
    const epilogue = this.#options.epilogue?.(this.#lastByte);
    if (epilogue === undefined || epilogue.length === 0) return;
    this.#pending = Buffer.concat([this.#pending, epilogue]);
  }

  /** Moves what is there from pipe to pipe; true when it is worth continuing at once. */
  #spliceSome(): boolean {
    const { source, sink } = this.#options;
    if (sink === undefined) return this.#copySome();
    let moved: Transfer;
    try {
      moved = spliceFd(source, sink, SPLICE_BYTES);
    } catch (error) {
      this.#end({ kind: "sinkFailed", error });
      return false;
    }
    if (moved === 0) {
      this.#state = "ending";
      return true;
    }
    if (moved === "again") {
      if (!isReadable(source)) this.#waitForSource();
      else if (!isWritable(sink)) this.#waitForSink();
      else return true;
      return false;
    }
    this.#grow(source, sink, moved);
    if (moved >= LEAST_READ_BYTES) return true;
    // A short move was all there was. If not, the poller tells.
    this.#waitForSource();
    return false;
  }

  #grow(source: number, sink: number, moved: number): void {
    const before = this.#movedBytes;
    this.#movedBytes += moved;
    if (before < LONG_STREAM_BYTES && this.#movedBytes >= LONG_STREAM_BYTES) {
      growPipe(source, LONG_STREAM_PIPE_BYTES);
      growPipe(sink, LONG_STREAM_PIPE_BYTES);
    }
  }

  #waitForSource(): void {
    this.#sinkGate?.shut();
    this.#sourceGate.open();
  }

  #waitForSink(): void {
    this.#sourceGate.shut();
    this.#sinkGate?.open();
  }

  #end(end: RelayEnd): void {
    this[Symbol.dispose]();
    this.#options.onEnd(end);
  }
}

/** What to log about an end that is not the usual one. */
export function describeEnd(end: RelayEnd): string | undefined {
  return end.kind === "sourceEnded" ? undefined : messageOf(end.error);
}
