/**
 * A ttrpc server: its connections and listeners, and how they end.
 *
 * It opens no socket itself: `bun.ts` and `net.ts` listen and pass connections in.
 */

import { ShimError } from "../../base/error.ts";
import type { Inventory } from "../../base/inventory.ts";
import { type Logger, silentLogger } from "../../base/log.ts";
import { type MountedService, type Peer, type ServiceTable, serviceTable } from "../service.ts";
import { Completion } from "./completion.ts";
import type { CallObserver } from "./server-call.ts";
import { type CanResume, ServerConnection } from "./server-connection.ts";
import { peerOf, type ServerConnectionState } from "./server-connection-state.ts";
import type { Transport } from "./transport.ts";

/** How long last answers may take to be read once the deadline of a shutdown has passed. */
const FLUSH_MS = 200;

/** Something that accepts connections until it is closed. */
export interface Listener {
  /** Accepts no more; accepted connections live on. Idempotent. */
  close(): void;
}

/** Where a listener passes connections in: a server, or whatever stands before it. */
export type Acceptor = Pick<TtrpcServer, "serve" | "addListener">;

export interface TtrpcServerOptions {
  readonly services: readonly MountedService[];
  readonly log?: Logger;
}

export class TtrpcServer implements Disposable {
  /** Observers of calls; usually none. */
  readonly observers: Set<CallObserver> = new Set();
  /** Called for each frame that a peer has sent. */
  onReceived: (() => void) | undefined;
  readonly #table: ServiceTable;
  readonly #log: Logger;
  readonly #connections = new Set<ServerConnection>();
  readonly #listeners = new Set<Listener>();
  #isHeld = false;
  #received = 0;
  /** Set from the first shutdown or close on; resolves when the last connection has closed. */
  #ended: Completion | undefined;

  constructor(options: TtrpcServerOptions) {
    this.#table = serviceTable(options.services);
    this.#log = options.log ?? silentLogger;
  }

  /** The open connections, each with its peer and its calls in flight. */
  get connections(): ReadonlySet<ServerConnection> {
    return this.#connections;
  }

  /** Makes `listener` end with the server. */
  addListener(listener: Listener): void {
    if (this.#ended !== undefined) listener.close();
    else this.#listeners.add(listener);
  }

  /** Frames that peers have sent so far, and closed connections: if the count has not changed, it was quiet. */
  get received(): number {
    return this.#received;
  }

  /** Counts what a peer has sent, also by another protocol on a connection of this server. */
  noteReceived(): void {
    this.#received++;
    this.onReceived?.();
  }

  /**
   * Takes no further frame on any connection until {@link release}: what peers send waits in the
   * kernel, so that the calls in flight come to an end.
   */
  hold(): void {
    this.#isHeld = true;
    for (const connection of this.#connections) connection.hold();
  }

  /** Ends {@link hold}. */
  release(): void {
    this.#isHeld = false;
    for (const connection of [...this.#connections]) connection.release();
  }

  /** Bytes of requests and answers on their way or in flight, on all connections. */
  get bytesInHand(): number {
    let bytes = 0;
    for (const connection of this.#connections) bytes += connection.bytesInHand;
    return bytes;
  }

  /** The connections, to be adopted by another server. */
  snapshot(inventory: Inventory, canResume: CanResume): readonly ServerConnectionState[] {
    if (this.#ended !== undefined) inventory.addObstacle("the server is ending");
    return [...this.#connections].flatMap(
      (connection) => connection.snapshot(inventory, canResume) ?? [],
    );
  }

  /** Serves a connection until it closes. One that comes after a shutdown began is closed. */
  serve(transport: Transport, peer: Peer = {}): void {
    this.#serve(transport, peer, undefined);
  }

  /** Serves a connection that another server stopped serving at `state`. */
  adopt(transport: Transport, state: ServerConnectionState): void {
    this.#serve(transport, peerOf(state), state);
  }

  #serve(transport: Transport, peer: Peer, state: ServerConnectionState | undefined): void {
    if (this.#ended !== undefined) {
      transport.destroy();
      return;
    }
    const connection = new ServerConnection({
      transport,
      peer,
      table: this.#table,
      log: this.#log,
      observers: this.observers,
      onFrame: () => this.noteReceived(),
      onClosed: () => {
        // Whoever looks for quiet is to see what it leaves: parts of frames that are garbage now.
        this.noteReceived();
        this.#connections.delete(connection);
        this.#resolveWhenEmpty();
      },
    });
    this.#connections.add(connection);
    if (this.#isHeld) connection.hold();
    if (state !== undefined) connection.restore(state);
    connection.start();
  }

  /** Closes its listeners, and every connection that still comes; existing ones go on. */
  stopAccepting(): void {
    void this.#stopAccepting();
  }

  /**
   * Accepts nothing more, lets calls in flight finish, and closes each connection when its answers
   * are sent. Calls not finished after `deadlineMs` milliseconds are answered `unavailable`.
   * Resolves when every connection has closed.
   */
  async shutdown(deadlineMs: number): Promise<void> {
    const ended = this.#stopAccepting();
    for (const connection of [...this.#connections]) connection.drain();
    const error = new ShimError("unavailable", "Cannot finish call: server is shutting down");
    let flush: ReturnType<typeof setTimeout> | undefined;
    const deadline = setTimeout(() => {
      for (const connection of [...this.#connections]) connection.abandon(error);
      flush = setTimeout(() => this.close(), FLUSH_MS);
    }, deadlineMs);
    await ended;
    clearTimeout(deadline);
    clearTimeout(flush);
  }

  /** Closes every connection at once; calls in flight are canceled and not answered. */
  close(): void {
    void this.#stopAccepting();
    for (const connection of [...this.#connections]) connection.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #stopAccepting(): Promise<void> {
    if (this.#ended === undefined) {
      this.#ended = new Completion();
      for (const listener of this.#listeners) listener.close();
      this.#listeners.clear();
      this.#resolveWhenEmpty();
    }
    return this.#ended.promise;
  }

  #resolveWhenEmpty(): void {
    if (this.#connections.size === 0) this.#ended?.resolve();
  }
}
