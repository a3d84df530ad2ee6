/**
 * The server's end of one connection: streams by id, and what each frame does to them.
 *
 * A protocol error is answered on the stream it names and never closes the connection.
 */

import { messageOf, ShimError } from "../../base/error.ts";
import type { Inventory } from "../../base/inventory.ts";
import type { Logger } from "../../base/log.ts";
import { fromBase64, toBase64 } from "../../base/shape.ts";
import { Request, Response } from "../../gen/ttrpc/request.ts";
import {
  findMethod,
  isAsyncIterable,
  type Method,
  type Peer,
  type ServiceTable,
} from "../service.ts";
import { statusOf } from "../status.ts";
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
import { type CallObserver, ServerCall } from "./server-call.ts";
import type { ServerConnectionState } from "./server-connection-state.ts";
import type { Transport } from "./transport.ts";

/** Calls in flight on one connection at a time. */
const CALLS_MAX = 16 * 1024;
/** Bytes of their requests together. */
const REQUEST_BYTES_MAX = 64 * 1024 * 1024;

const NO_BYTES = new Uint8Array(0);

/** Whether the same request may be given to its handler again, by the next program of this process. */
export type CanResume = (call: ServerCall) => boolean;

export interface ServerConnectionOptions {
  readonly transport: Transport;
  readonly peer: Peer;
  readonly table: ServiceTable;
  readonly log: Logger;
  readonly observers: ReadonlySet<CallObserver>;
  /** Called for each frame that has come. */
  readonly onFrame?: () => void;
  /** Called once, when nothing of the connection is left. */
  readonly onClosed: () => void;
}

export class ServerConnection {
  readonly peer: Peer;
  readonly #frames: FrameConnection;
  readonly #table: ServiceTable;
  readonly #log: Logger;
  readonly #observers: ReadonlySet<CallObserver>;
  readonly #onClosed: () => void;
  /**
   * Those that were not answered at once. A map through which every call passes costs more than it seems to:
   * its old tables stay until the whole heap is collected.
   */
  readonly #calls = new Map<number, ServerCall>();
  /** Its handler is being called. */
  #beginning: ServerCall | undefined;
  #requestBytes = 0;
  #lastStreamId = 0;
  #isDraining = false;

  constructor(options: ServerConnectionOptions) {
    this.peer = options.peer;
    this.#table = options.table;
    this.#log = options.log;
    this.#observers = options.observers;
    this.#onClosed = options.onClosed;
    this.#frames = new FrameConnection(
      options.transport,
      {
        onFrame: (frame) => {
          options.onFrame?.();
          this.#onFrame(frame);
        },
        onClosed: (error) => this.#onTransportClosed(error),
      },
      { readsWhileFull: false },
    );
  }

  /** Begins to serve. */
  start(): void {
    this.#frames.start();
  }

  /** Makes this connection, which has not started, continue where another left off: its calls run again. */
  restore(state: ServerConnectionState): void {
    this.#lastStreamId = state.lastStreamId;
    this.#frames.restore(state.frames);
    for (const { streamId, request, leftMs } of state.calls) {
      this.#begin(streamId, decodeRequest(fromBase64(request)), { leftMs });
    }
  }

  /** For {@link restore}. What can be neither resumed nor described is an obstacle. */
  snapshot(inventory: Inventory, canResume: CanResume): ServerConnectionState | undefined {
    const { fd } = this;
    const frames = this.#frames.snapshot();
    if (fd === undefined || frames === undefined || this.#isDraining) {
      inventory.addObstacle("a connection is being closed, or speaks gRPC");
      return undefined;
    }
    if (frames.outbox !== "") inventory.addErrand("an answer is being sent");
    const { pid, uid, gid } = this.peer;
    return {
      fd: inventory.keepOpen("connection", fd),
      peer: { pid, uid, gid },
      lastStreamId: this.#lastStreamId,
      frames,
      calls: [...this.calls].map((call) => {
        const { streamId, request, deadlineMs, service, method } = call;
        if (!canResume(call)) inventory.addObstacle(`${service}/${method} is at work`);
        if (deadlineMs !== undefined) inventory.addDeadline(deadlineMs);
        const leftMs = deadlineMs === undefined ? undefined : deadlineMs - performance.now();
        return { streamId, request: toBase64(Request.encode(request).finish()), leftMs };
      }),
    };
  }

  /** Takes no further frame until {@link release}. */
  hold(): void {
    this.#frames.hold();
  }

  /** Ends one {@link hold}. */
  release(): void {
    this.#frames.release();
  }

  /** Bytes of requests and answers on their way or in flight. */
  get bytesInHand(): number {
    return this.#frames.bytesInHand + this.#requestBytes;
  }

  /** The descriptor of the connection, lent. */
  get fd(): number | undefined {
    return this.#frames.fd;
  }

  /** The calls in flight, each with its stream id and request. */
  get calls(): Iterable<ServerCall> {
    const waiting = this.#calls.values();
    return this.#beginning === undefined ? waiting : [...waiting, this.#beginning];
  }

  /** Refuses new calls, and closes once those in flight are answered and the answers are sent. */
  drain(): void {
    this.#isDraining = true;
    this.#endWhenIdle();
  }

  /** Answers what is still in flight with `error`, then closes once the answers are sent. */
  abandon(error: ShimError): void {
    this.#isDraining = true;
    for (const call of [...this.calls]) this.#fail(call, error);
    this.#endWhenIdle();
  }

  /** Closes at once; calls in flight are canceled and not answered. */
  destroy(): void {
    this.#frames.destroy();
  }

  #onFrame(frame: Frame): void {
    try {
      this.#handle(frame);
    } catch (error) {
      // A refused stream gets its error on its own id, whether or not it is known here.
      const call = this.#calls.get(frame.streamId);
      if (call === undefined || frame.type === TYPE_REQUEST)
        this.#respondError(frame.streamId, error);
      else this.#fail(call, error);
    }
  }

  #handle(frame: Frame): void {
    const { streamId, body } = frame;
    if (body === undefined) {
      throw new ShimError(
        "resourceExhausted",
        `Cannot read message: ${frame.length} bytes exceed the limit of ${BODY_LENGTH_MAX}`,
      );
    }
    if (streamId % 2 !== 1) {
      throw new ShimError("invalidArgument", `Cannot use stream: id ${streamId} is not odd`);
    }
    if (frame.type === TYPE_REQUEST) this.#onRequest(frame, body);
    else if (frame.type === TYPE_DATA) this.#onData(frame, body);
    // Any other type is from a future version, and is skipped.
  }

  #onRequest({ streamId, flags }: Frame, body: Uint8Array): void {
    if (streamId <= this.#lastStreamId) {
      throw new ShimError(
        "invalidArgument",
        `Cannot open stream: id ${streamId} is not above ${this.#lastStreamId}`,
      );
    }
    this.#lastStreamId = streamId;
    if (this.#isDraining)
      throw new ShimError("unavailable", "Cannot take call: server is shutting down");
    if (this.#calls.size >= CALLS_MAX || this.#requestBytes + body.length > REQUEST_BYTES_MAX) {
      throw new ShimError(
        "resourceExhausted",
        `Cannot take call: ${this.#calls.size} are at work on this connection`,
      );
    }
    this.#begin(streamId, decodeRequest(body), undefined, (flags & FLAG_REMOTE_OPEN) !== 0);
  }

  #begin(
    streamId: number,
    request: Request,
    resumed: { readonly leftMs: number | undefined } | undefined,
    isOpen = false,
  ): void {
    const handler = findMethod(this.#table, request.service, request.method);
    const takesStream = handler.kind === "clientStream" || handler.kind === "bidiStream";
    const inbox = takesStream ? new Inbox() : undefined;
    const call = new ServerCall({
      ...{ streamId, request, handler, peer: this.peer, inbox },
      ...(resumed !== undefined && { resumed }),
    });
    this.#requestBytes += request.payload.length;
    for (const observer of this.#observers) observer.callBegan(call);
    call.startTimer(() =>
      this.#fail(
        call,
        new ShimError("deadlineExceeded", "Cannot finish call: its deadline has passed"),
      ),
    );
    // An open stream's first message may ride on the request. An empty one cannot be told from none.
    if (inbox !== undefined && request.payload.length > 0) inbox.push(request.payload);
    if (!isOpen) inbox?.end();
    this.#beginning = call;
    try {
      this.#run(call, handler);
    } catch (error) {
      this.#fail(call, error);
    } finally {
      this.#beginning = undefined;
    }
    if (call.isRunning) this.#calls.set(streamId, call);
    else this.#endWhenIdle();
  }

  #onData({ streamId, flags }: Frame, body: Uint8Array): void {
    const call = this.#calls.get(streamId);
    if (call === undefined) {
      throw new ShimError("invalidArgument", `Cannot take data: stream ${streamId} is not active`);
    }
    const { inbox } = call;
    if ((flags & FLAG_NO_DATA) === 0) {
      if (inbox === undefined || inbox.hasEnded) {
        throw new ShimError("invalidArgument", `Cannot take data: stream ${streamId} is closed`);
      }
      inbox.push(body);
    }
    if ((flags & FLAG_REMOTE_CLOSED) !== 0) inbox?.end();
    else if (inbox?.isFull) this.#waitFor(call, inbox);
  }

  #waitFor(call: ServerCall, inbox: Inbox): void {
    this.#frames.waitFor(inbox, () => {
      const error = new ShimError("resourceExhausted", "Cannot take data: the stream is not read");
      this.#fail(call, error);
    });
  }

  #run(call: ServerCall, handler: Method): void {
    const { inbox } = call;
    const input =
      inbox === undefined
        ? handler.decodeRequest(call.request.payload)
        : decodeEach(inbox, handler);
    const output = handler.invoke(input, call);
    if (handler.kind === "serverStream" || handler.kind === "bidiStream") {
      if (!isAsyncIterable(output)) throw new ShimError("internal", "The handler gave no stream");
      // Never rejects: whatever the handler throws becomes the answer.
      void this.#sendEach(call, output);
    } else if (output instanceof Promise) {
      output.then(
        (message: unknown) => this.#succeed(call, message),
        (error: unknown) => this.#fail(call, error),
      );
    } else this.#succeed(call, output);
  }

  #succeed(call: ServerCall, message: unknown): void {
    if (!call.isRunning) return;
    try {
      const payload = call.handler.encodeResponse(message);
      const body = Response.encode({ status: undefined, payload }).finish();
      this.#frames.send(call.streamId, TYPE_RESPONSE, 0, body);
      for (const observer of this.#observers) observer.callAnswered(call, payload);
    } catch (error) {
      this.#respondError(call.streamId, error);
      for (const observer of this.#observers) observer.callFailed(call, error);
    }
    this.#forget(call);
    call.finish();
  }

  /** Answers with an error and tells the handler, unless the call has ended already. */
  #fail(call: ServerCall, error: unknown): void {
    if (!call.isRunning) return;
    this.#respondError(call.streamId, error);
    for (const observer of this.#observers) observer.callFailed(call, error);
    this.#forget(call);
    call.cancel(error instanceof Error ? error : new Error(messageOf(error)));
  }

  async #sendEach(call: ServerCall, output: AsyncIterable<unknown>): Promise<void> {
    try {
      for await (const message of output) {
        if (!call.isRunning) return;
        this.#frames.send(call.streamId, TYPE_DATA, 0, call.handler.encodeResponse(message));
        if (this.#frames.isFull) await this.#frames.room();
      }
      if (!call.isRunning) return;
      this.#frames.send(call.streamId, TYPE_DATA, FLAG_REMOTE_CLOSED | FLAG_NO_DATA, NO_BYTES);
      for (const observer of this.#observers) observer.callAnswered(call, NO_BYTES);
      this.#forget(call);
      call.finish();
    } catch (error) {
      this.#fail(call, error);
    }
  }

  #respondError(streamId: number, error: unknown): void {
    const { code, message } = statusOf(error);
    const status = { code, message: clip(message), details: [] };
    const body = Response.encode({ status, payload: NO_BYTES }).finish();
    this.#frames.send(streamId, TYPE_RESPONSE, 0, body);
  }

  #forget(call: ServerCall): void {
    this.#calls.delete(call.streamId);
    this.#requestBytes -= call.request.payload.length;
    this.#endWhenIdle();
  }

  #endWhenIdle(): void {
    if (!this.#isDraining || this.#calls.size > 0 || this.#beginning !== undefined) return;
    this.#frames.end();
  }

  #onTransportClosed(error: Error | undefined): void {
    if (error !== undefined) this.#log.debug("ttrpc connection closed", { error: error.message });
    const calls = [...this.calls];
    this.#calls.clear();
    this.#requestBytes = 0;
    const reason = new ShimError("canceled", "The caller has gone", { cause: error });
    for (const call of calls) {
      for (const observer of this.#observers) observer.callFailed(call, reason);
      call.cancel(reason);
    }
    this.#onClosed();
  }
}

function decodeRequest(body: Uint8Array): Request {
  try {
    return Request.decode(body);
  } catch (cause) {
    throw new ShimError(
      "invalidArgument",
      `Cannot decode request: ${body.length} malformed bytes`,
      {
        cause,
      },
    );
  }
}

/** Decodes messages as they are read. A message that does not decode ends the stream with an error. */
async function* decodeEach(inbox: Inbox, method: Method): AsyncGenerator<unknown> {
  for await (const bytes of inbox) yield method.decodeRequest(bytes);
}

/** An error text as long as a frame could not be sent as an answer: it is truncated. */
function clip(message: string): string {
  const lengthMax = 64 * 1024;
  return message.length <= lengthMax ? message : `${message.slice(0, lengthMax)}...`;
}
