/**
 * Frames over a transport: what client and server share.
 *
 * Owns the transport, the unfinished frame and the queue of what the peer has not taken yet.
 * It does not know what a call is. Two things stop it from reading: a peer that does not read its
 * answers (where {@link ConnectionOptions.readsWhileFull} is false), and a stream whose inbox
 * is full, for {@link STUCK_STREAM_MS} at most.
 */

import { ShimError } from "../../base/error.ts";
import { base64, fromBase64, record, type Shaped, toBase64 } from "../../base/shape.ts";
import { BODY_LENGTH_MAX, decoderState, encodeFrame, type Frame, FrameDecoder } from "./frame.ts";
import type { Inbox } from "./inbox.ts";
import type { Transport } from "./transport.ts";

/** Past this many unsent bytes, senders that can wait do so, and a server reads no further request. */
const OUTBOX_BYTES_FULL = 1024 * 1024;
/** Past this many unsent bytes the peer is given up: it makes calls, and does not read the answers. */
const OUTBOX_BYTES_MAX = 64 * 1024 * 1024;
/** How long one stream that nobody reads may hold up the others. */
const STUCK_STREAM_MS = 250;

export interface ConnectionEvents {
  onFrame(frame: Frame): void;
  /** The last event, exactly once. */
  onClosed(error: Error | undefined): void;
}

export interface ConnectionOptions {
  /**
   * Whether reading goes on while the peer does not read. Exactly one end may stop, or both
   * could wait for each other forever: the server does.
   */
  readonly readsWhileFull: boolean;
}

/** What has been read and not delivered, and what has been sent and not taken. */
export const frameConnectionState = record({ inbound: decoderState, outbox: base64 });
export type FrameConnectionState = Shaped<typeof frameConnectionState>;

type State = "open" | "flushing" | "ending" | "closed";

export class FrameConnection {
  readonly #transport: Transport;
  readonly #events: ConnectionEvents;
  readonly #readsWhileFull: boolean;
  readonly #decoder = new FrameDecoder();
  #state: State = "open";
  /** Frames, or ends of frames, that the transport has not taken. */
  #outbox: Uint8Array[] = [];
  #outboxBytes = 0;
  /** Senders that wait for the outbox to empty. */
  readonly #waiting: (() => void)[] = [];
  /** How many reasons there are to stop reading. */
  #holds = 0;
  #isHeldByOutbox = false;
  #isReading = false;

  constructor(transport: Transport, events: ConnectionEvents, options: ConnectionOptions) {
    this.#transport = transport;
    this.#events = events;
    this.#readsWhileFull = options.readsWhileFull;
  }

  /** Makes this connection, which has not started, continue where another left off. */
  restore({ inbound, outbox }: FrameConnectionState): void {
    this.#decoder.restore(inbound);
    const unsent = fromBase64(outbox);
    if (unsent.length === 0) return;
    this.#outbox.push(unsent);
    this.#outboxBytes = unsent.length;
    if (this.isFull) this.#holdForOutbox();
  }

  /** Bytes that have come and are not taken yet, and those that are not sent yet. */
  get bytesInHand(): number {
    return this.#decoder.size + this.#outboxBytes;
  }

  /** For {@link restore}; undefined once it is closing, or used by another protocol. */
  snapshot(): FrameConnectionState | undefined {
    if (this.#state !== "open" || this.#transport.isForeign) return undefined;
    return { inbound: this.#decoder.snapshot(), outbox: toBase64(Buffer.concat(this.#outbox)) };
  }

  /** Delivers and reads nothing more until {@link release}; the peer's frames wait in the kernel. */
  hold(): void {
    this.#hold();
  }

  /** Ends one {@link hold}. */
  release(): void {
    this.#release();
  }

  /** Begins to deliver events; some may come within the call. */
  start(): void {
    this.#transport.start({
      onData: (chunk) => {
        if (this.#state !== "open") return;
        this.#decoder.feed(chunk);
        this.#read();
      },
      onDrain: () => this.#drain(),
      onClosed: (error) => this.#closed(error),
    });
    // What a predecessor has left.
    if (this.#outbox.length > 0) this.#drain();
    this.#read();
  }

  get fd(): number | undefined {
    return this.#transport.fd;
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** Whether a sender that can wait should: see {@link room}. */
  get isFull(): boolean {
    return this.#outboxBytes > OUTBOX_BYTES_FULL;
  }

  /**
   * Sends a frame, or queues what the transport does not take. Does nothing once closed.
   * Throws `resourceExhausted` when the body is longer than a frame may carry.
   */
  send(streamId: number, type: number, flags: number, body: Uint8Array): void {
    if (body.length > BODY_LENGTH_MAX) {
      throw new ShimError(
        "resourceExhausted",
        `Cannot send message: ${body.length} bytes exceed the limit of ${BODY_LENGTH_MAX}`,
      );
    }
    if (this.#state === "open") this.#write(encodeFrame(streamId, type, flags, body));
  }

  /** Resolves when the outbox is not full, or the connection has closed. Never rejects. */
  room(): Promise<void> {
    if (!this.isFull || this.#state === "closed") return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /**
   * Stops reading until `inbox` has room. A stream that nobody reads may not hold up the others
   * for long: `onStuck` is called once it has, and must end the stream.
   */
  waitFor(inbox: Inbox, onStuck: () => void): void {
    this.#hold();
    const timer = setTimeout(() => {
      inbox.whenRoom(undefined);
      onStuck();
      this.#release();
    }, STUCK_STREAM_MS);
    inbox.whenRoom(() => {
      clearTimeout(timer);
      this.#release();
    });
  }

  /** Sends what is queued, then closes. Nothing more is read. */
  end(): void {
    if (this.#state !== "open") return;
    this.#state = "flushing";
    this.#endWhenFlushed();
  }

  /** Closes at once; `onClosed` follows. */
  destroy(): void {
    if (this.#state !== "closed") this.#transport.destroy();
  }

  #write(bytes: Uint8Array): void {
    const taken = this.#outbox.length === 0 ? this.#transport.write(bytes) : 0;
    if (taken === bytes.length) return;
    this.#outbox.push(taken === 0 ? bytes : bytes.subarray(taken));
    this.#outboxBytes += bytes.length - taken;
    if (this.#outboxBytes > OUTBOX_BYTES_MAX) this.destroy();
    else if (this.isFull) this.#holdForOutbox();
  }

  #drain(): void {
    let sent = 0;
    for (const bytes of this.#outbox) {
      const taken = this.#transport.write(bytes);
      this.#outboxBytes -= taken;
      if (taken < bytes.length) {
        this.#outbox[sent] = bytes.subarray(taken);
        break;
      }
      sent += 1;
    }
    this.#outbox.splice(0, sent);
    if (this.#outboxBytes <= OUTBOX_BYTES_FULL / 2) this.#announceRoom();
    this.#endWhenFlushed();
  }

  #endWhenFlushed(): void {
    if (this.#state !== "flushing" || this.#outbox.length > 0) return;
    this.#state = "ending";
    this.#transport.end();
  }

  #announceRoom(): void {
    const waiting = this.#waiting.splice(0);
    for (const resume of waiting) resume();
    if (!this.#isHeldByOutbox) return;
    this.#isHeldByOutbox = false;
    this.#release();
  }

  #holdForOutbox(): void {
    if (this.#readsWhileFull || this.#isHeldByOutbox) return;
    this.#isHeldByOutbox = true;
    this.#hold();
  }

  #hold(): void {
    this.#holds += 1;
    if (this.#holds === 1 && this.#state === "open") this.#transport.pause();
  }

  #release(): void {
    this.#holds -= 1;
    if (this.#holds > 0 || this.#state !== "open") return;
    this.#read();
    if (this.#holds === 0 && this.#state === "open") this.#transport.resume();
  }

  /** Delivers whole frames until told to hold. A frame may close the connection or hold it. */
  #read(): void {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      while (this.#holds === 0 && this.#state === "open") {
        const frame = this.#decoder.next();
        if (frame === undefined) break;
        this.#events.onFrame(frame);
      }
    } finally {
      this.#isReading = false;
    }
  }

  #closed(error: Error | undefined): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#outbox = [];
    this.#outboxBytes = 0;
    this.#announceRoom();
    this.#events.onClosed(error);
  }
}
