/**
 * One call in flight on a server: what its handler sees as the context, and everything that must
 * end with it (deadline, abort signal, unread messages).
 *
 * A call names its request, so that what is in flight on a connection can be listed.
 */

import type { Request } from "../../gen/ttrpc/request.ts";
import type { CallContext, Metadata, Method, Peer } from "../service.ts";
import type { Inbox } from "./inbox.ts";

/** setTimeout(3) of longer delays fires at once. Nobody waits that long: such a call has no deadline. */
const DELAY_MS_MAX = 2 ** 31 - 1;
const NANOSECONDS_PER_MILLISECOND = 1_000_000n;

/** Which side still sends something. After `answered` the stream id is forgotten. */
export type CallState =
  | { readonly kind: "running" }
  | { readonly kind: "canceled"; readonly reason: Error }
  | { readonly kind: "answered" };

/** Notified of every call, within the turn in which it happens. Must not throw. */
export interface CallObserver {
  callBegan(call: ServerCall): void;
  callAnswered(call: ServerCall, answer: Uint8Array): void;
  /** With what the handler threw, the deadline, or the end of the connection. */
  callFailed(call: ServerCall, error: unknown): void;
}

export class ServerCall implements CallContext {
  readonly streamId: number;
  readonly request: Request;
  readonly handler: Method;
  readonly peer: Peer;
  /** The caller's messages, where the method takes a stream of them. */
  readonly inbox: Inbox | undefined;
  readonly deadlineMs: number | undefined;
  /** Milliseconds as `performance.now` counts them. */
  readonly #receivedAtMs = performance.now();
  readonly isResumed: boolean;
  #state: CallState = { kind: "running" };
  #timer: ReturnType<typeof setTimeout> | undefined;
  #controller: AbortController | undefined;
  #metadata: Metadata | undefined;

  constructor(options: {
    readonly streamId: number;
    readonly request: Request;
    readonly handler: Method;
    readonly peer: Peer;
    readonly inbox: Inbox | undefined;
    /** For a call that a previous program of this process took; `leftMs` is what is left of its time. */
    readonly resumed?: { readonly leftMs: number | undefined };
  }) {
    this.streamId = options.streamId;
    this.request = options.request;
    this.handler = options.handler;
    this.peer = options.peer;
    this.inbox = options.inbox;
    this.isResumed = options.resumed !== undefined;
    const { resumed, request } = options;
    const timeoutMs = resumed === undefined ? toTimeoutMs(request) : resumed.leftMs;
    this.deadlineMs = timeoutMs === undefined ? undefined : this.#receivedAtMs + timeoutMs;
  }

  get service(): string {
    return this.request.service;
  }

  get method(): string {
    return this.request.method;
  }

  /** How long it has been in flight, in milliseconds. */
  get ageMs(): number {
    return performance.now() - this.#receivedAtMs;
  }

  get isRunning(): boolean {
    return this.#state.kind === "running";
  }

  /** Created on first use: most handlers never ask for it. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#state.kind === "canceled") this.#controller.abort(this.#state.reason);
    }
    return this.#controller.signal;
  }

  get metadata(): Metadata {
    this.#metadata ??= toMetadata(this.request);
    return this.#metadata;
  }

  /** Calls `onExpired` once the caller stops waiting, unless the call ends before. */
  startTimer(onExpired: () => void): void {
    if (this.deadlineMs === undefined) return;
    this.#timer = setTimeout(onExpired, Math.max(this.deadlineMs - performance.now(), 0));
  }

  /** The handler has answered: nothing is sent on this stream any more. */
  finish(): void {
    if (!this.isRunning) return;
    this.#state = { kind: "answered" };
    clearTimeout(this.#timer);
    this.inbox?.end();
  }

  /** Nobody waits for the handler any more. It learns so through its signal and its messages. */
  cancel(reason: Error): void {
    if (!this.isRunning) return;
    this.#state = { kind: "canceled", reason };
    clearTimeout(this.#timer);
    this.inbox?.fail(reason);
    this.#controller?.abort(reason);
  }
}

/** From receipt, in milliseconds; negative when the caller sent a deadline that had passed. */
function toTimeoutMs({ timeoutNano }: Request): number | undefined {
  if (timeoutNano === 0n) return undefined;
  const ms = Number((timeoutNano + NANOSECONDS_PER_MILLISECOND - 1n) / NANOSECONDS_PER_MILLISECOND);
  return ms > DELAY_MS_MAX ? undefined : ms;
}

function toMetadata(request: Request): Metadata {
  const metadata = new Map<string, string[]>();
  for (const { key, value } of request.metadata) {
    const name = key.toLowerCase();
    const values = metadata.get(name);
    if (values === undefined) metadata.set(name, [value]);
    else values.push(value);
  }
  return metadata;
}
