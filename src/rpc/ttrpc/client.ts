/**
 * A ttrpc client on one connection: many calls at a time, unary and streaming.
 *
 * The protocol cannot cancel a call. A caller that gives up is answered at once here, and what
 * the server still sends for it is dropped.
 */

import { messageOf, ShimError } from "../../base/error.ts";
import { type KeyValue, Request, Response } from "../../gen/ttrpc/request.ts";
import { decodeMessage, type Metadata, type MethodKind } from "../service.ts";
import { CODE_OK, errorOf } from "../status.ts";
import { ClientStream } from "./client-stream.ts";
import { Completion } from "./completion.ts";
import { FrameConnection } from "./connection.ts";
import {
  BODY_LENGTH_MAX,
  FLAG_NO_DATA,
  FLAG_REMOTE_CLOSED,
  FLAG_REMOTE_OPEN,
  type Frame,
  TYPE_DATA,
  TYPE_REQUEST,
  TYPE_RESPONSE,
} from "./frame.ts";
import { Inbox } from "./inbox.ts";
import type { Transport } from "./transport.ts";

const STREAM_ID_MAX = 2 ** 32 - 1;
const DELAY_MS_MAX = 2 ** 31 - 1;
const NANOSECONDS_PER_MILLISECOND = 1_000_000;
const NO_BYTES = new Uint8Array(0);

export interface CallOptions {
  /** How long to wait for the answer, in milliseconds. The server is told and gives up too. */
  readonly timeoutMs?: number;
  /** Gives the call up when aborted. */
  readonly signal?: AbortSignal;
  readonly metadata?: Metadata;
}

/** Which method, by its names on the wire. */
export interface CallTarget {
  readonly service: string;
  readonly method: string;
}

/** What the frames of a stream do to its call. */
interface CallEvents {
  onResponse(payload: Uint8Array): void;
  onData(frame: Frame, body: Uint8Array): void;
  onError(error: Error): void;
}

interface PendingCall {
  readonly events: CallEvents;
  /** Lets go of the timer and the abort listener, where there is one. */
  readonly release: (() => void) | undefined;
}

export class TtrpcClient implements Disposable {
  readonly #frames: FrameConnection;
  readonly #pending = new Map<number, PendingCall>();
  readonly #closed = new Completion();
  #nextStreamId = 1;

  constructor(transport: Transport) {
    this.#frames = new FrameConnection(
      transport,
      {
        onFrame: (frame) => this.#onFrame(frame),
        onClosed: (error) => this.#onTransportClosed(error),
      },
      { readsWhileFull: true },
    );
    this.#frames.start();
  }

  /** Resolves when the connection has closed, whoever closed it. Never rejects. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** The descriptor of the connection, lent. */
  get fd(): number | undefined {
    return this.#frames.fd;
  }

  /** Closes the connection. Calls that wait fail with `unavailable`. Idempotent. */
  close(): void {
    this.#frames.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Makes a call with one request and one response, both encoded. Rejects with a `ShimError`:
   * what the server answered, `deadlineExceeded`, `canceled`, or `unavailable` when the
   * connection has closed.
   */
  async call(
    target: CallTarget,
    payload: Uint8Array,
    options: CallOptions = {},
  ): Promise<Uint8Array> {
    if (this.#frames.isFull) await this.#frames.room();
    return await new Promise<Uint8Array>((resolve, reject) => {
      const streamId = this.#open(target, payload, 0, options, {
        onResponse: resolve,
        onData: () => this.#fail(streamId, unexpectedData()),
        onError: reject,
      });
    });
  }

  /**
   * Opens a stream. `payload` is the request of a method that takes one; a method that takes a
   * stream of them gets them by {@link ClientStream.send}. Throws as {@link call} rejects.
   */
  stream(
    target: CallTarget,
    kind: Exclude<MethodKind, "unary">,
    payload: Uint8Array = NO_BYTES,
    options: CallOptions = {},
  ): ClientStream {
    const sendsStream = kind !== "serverStream";
    const inbox = new Inbox();
    const flags = sendsStream ? FLAG_REMOTE_OPEN : FLAG_REMOTE_CLOSED;
    const streamId = this.#open(target, payload, flags, options, {
      onResponse: (response) => {
        inbox.push(response);
        inbox.end();
      },
      onData: (frame, body) => {
        if (kind === "clientStream") this.#fail(streamId, unexpectedData());
        else this.#receive(streamId, inbox, frame, body);
      },
      onError: (error) => inbox.fail(error),
    });
    return new ClientStream({
      inbox,
      isSending: sendsStream,
      send: (dataFlags, body) => this.#sendData(streamId, dataFlags, body),
      abandon: (error) => this.#fail(streamId, error),
    });
  }

  #open(
    target: CallTarget,
    payload: Uint8Array,
    flags: number,
    options: CallOptions,
    events: CallEvents,
  ): number {
    if (options.signal?.aborted) throw aborted(options.signal);
    if (!this.#frames.isOpen) {
      throw new ShimError("unavailable", "Cannot make call: the connection is closed");
    }
    const streamId = this.#nextStreamId;
    if (streamId > STREAM_ID_MAX) {
      throw new ShimError("unavailable", "Cannot make call: the connection has no stream id left");
    }
    const body = Request.encode({
      service: target.service,
      method: target.method,
      payload,
      timeoutNano: toNanoseconds(options.timeoutMs),
      metadata: options.metadata === undefined ? [] : toKeyValues(options.metadata),
    }).finish();
    // Watched first: if the send itself closes the connection, the call must be found.
    this.#pending.set(streamId, { events, release: this.#watch(streamId, options) });
    try {
      this.#frames.send(streamId, TYPE_REQUEST, flags, body);
    } catch (error) {
      this.#settle(streamId);
      throw error;
    }
    this.#nextStreamId = streamId + 2;
    return streamId;
  }

  /** Fails the call at its timeout or abort. The result lets go of both. */
  #watch(streamId: number, { timeoutMs, signal }: CallOptions): (() => void) | undefined {
    if (timeoutMs === undefined && signal === undefined) return undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    if (timeoutMs !== undefined && timeoutMs <= DELAY_MS_MAX) {
      timer = setTimeout(() => {
        const text = `Cannot finish call: no answer within ${timeoutMs} ms`;
        this.#fail(streamId, new ShimError("deadlineExceeded", text));
      }, timeoutMs);
    }
    const onAbort = () => {
      if (signal !== undefined) this.#fail(streamId, aborted(signal));
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    return () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
  }

  async #sendData(streamId: number, flags: number, body: Uint8Array): Promise<void> {
    if (this.#frames.isFull) await this.#frames.room();
    if (!this.#pending.has(streamId)) {
      throw new ShimError("canceled", "Cannot send message: the call has ended");
    }
    this.#frames.send(streamId, TYPE_DATA, flags, body);
  }

  #onFrame(frame: Frame): void {
    const { streamId, body } = frame;
    const pending = this.#pending.get(streamId);
    // A late answer to a call that was given up.
    if (pending === undefined) return;
    if (body === undefined) {
      const text = `Cannot read message: ${frame.length} bytes exceed the limit of ${BODY_LENGTH_MAX}`;
      this.#fail(streamId, new ShimError("resourceExhausted", text));
    } else if (frame.type === TYPE_DATA) pending.events.onData(frame, body);
    else if (frame.type === TYPE_RESPONSE) this.#onResponse(streamId, body);
  }

  #onResponse(streamId: number, body: Uint8Array): void {
    let response: Response;
    try {
      response = decodeMessage(Response, body);
    } catch (error) {
      this.#fail(streamId, toError(error));
      return;
    }
    if (response.status !== undefined && response.status.code !== CODE_OK) {
      this.#fail(streamId, errorOf(response.status));
    } else this.#settle(streamId)?.onResponse(response.payload);
  }

  #receive(streamId: number, inbox: Inbox, { flags }: Frame, body: Uint8Array): void {
    if ((flags & FLAG_NO_DATA) === 0) inbox.push(body);
    if ((flags & FLAG_REMOTE_CLOSED) !== 0) {
      this.#settle(streamId);
      inbox.end();
    } else if (inbox.isFull) {
      this.#frames.waitFor(inbox, () => {
        const text = "Cannot take data: the stream is not read";
        this.#fail(streamId, new ShimError("resourceExhausted", text));
      });
    }
  }

  #fail(streamId: number, error: Error): void {
    this.#settle(streamId)?.onError(error);
  }

  /** Removes a call from the list: nothing that comes for it later is delivered. */
  #settle(streamId: number): CallEvents | undefined {
    const pending = this.#pending.get(streamId);
    if (pending === undefined) return undefined;
    this.#pending.delete(streamId);
    pending.release?.();
    return pending.events;
  }

  #onTransportClosed(cause: Error | undefined): void {
    const error = new ShimError("unavailable", "Cannot finish call: the connection is closed", {
      cause,
    });
    for (const streamId of [...this.#pending.keys()]) this.#fail(streamId, error);
    this.#closed.resolve();
  }
}

function aborted(signal: AbortSignal): ShimError {
  return new ShimError("canceled", "Cannot finish call: it was aborted", { cause: signal.reason });
}

function unexpectedData(): ShimError {
  return new ShimError("internal", "Cannot read answer: a data frame came for a call without one");
}

function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(messageOf(thrown));
}

/** 0 is no limit, so a timeout that has already passed becomes the shortest there is. */
function toNanoseconds(timeoutMs: number | undefined): bigint {
  if (timeoutMs === undefined || timeoutMs === Number.POSITIVE_INFINITY) return 0n;
  return BigInt(Math.max(1, Math.round(timeoutMs * NANOSECONDS_PER_MILLISECOND)));
}

function toKeyValues(metadata: Metadata): KeyValue[] {
  return [...metadata].flatMap(([key, values]) => values.map((value) => ({ key, value })));
}
