/**
 * Two protocols on one socket: the first bytes of a client tell which one it speaks.
 *
 * A ttrpc frame begins with its length, which never fills the highest of four bytes; HTTP/2, and so
 * gRPC, begins with the word PRI (RFC 9113, 3.4). A connection is ttrpc's until then, and stays on its
 * books: code that waits for connections to end, or ends them, need not know what is spoken on them.
 */

import { messageOf } from "../../base/error.ts";
import type { Logger } from "../../base/log.ts";
import type { Transport, TransportEvents } from "../ttrpc/transport.ts";

const HTTP2_FIRST_BYTE = "P".charCodeAt(0);
/** What a client may send before the other protocol is loaded. */
const EARLY_BYTES_MAX = 1024 * 1024;

/** The other protocol's end of one connection. */
export interface Session extends Pick<TransportEvents, "onData" | "onDrain" | "onClosed"> {
  /** Lets calls in flight finish, then closes. */
  end(): void;
}

export interface SharedTransportOptions {
  /** Called at most once, when the client turns out to speak HTTP/2; it is given the transport. */
  readonly openSession: (transport: Transport) => Promise<Session>;
  /** Called for each chunk of the other protocol that a client has sent. */
  readonly onReceived: () => void;
  readonly log: Logger;
}

type State =
  | { readonly kind: "undecided" }
  | { readonly kind: "own" }
  | { readonly kind: "loading"; readonly early: Uint8Array[]; hasEnded: boolean }
  | { readonly kind: "other"; readonly session: Session }
  | { readonly kind: "closed" };

export class SharedTransport implements Transport {
  readonly #transport: Transport;
  readonly #options: SharedTransportOptions;
  #state: State = { kind: "undecided" };

  /** `transport` is owned from here on. */
  constructor(transport: Transport, options: SharedTransportOptions) {
    this.#transport = transport;
    this.#options = options;
  }

  get fd(): number | undefined {
    return this.#transport.fd;
  }

  get isForeign(): boolean {
    return this.#state.kind === "loading" || this.#state.kind === "other";
  }

  start(events: TransportEvents): void {
    this.#transport.start({
      onData: (chunk) => this.#receive(chunk, events),
      onDrain: () => {
        if (this.#state.kind === "other") this.#state.session.onDrain();
        else events.onDrain();
      },
      onClosed: (error) => {
        const state = this.#state;
        this.#state = { kind: "closed" };
        if (state.kind === "other") state.session.onClosed(error);
        events.onClosed(error);
      },
    });
  }

  write(bytes: Uint8Array): number {
    return this.#transport.write(bytes);
  }

  pause(): void {
    this.#transport.pause();
  }

  resume(): void {
    this.#transport.resume();
  }

  end(): void {
    if (this.#state.kind === "other") this.#state.session.end();
    else if (this.#state.kind === "loading") this.#state.hasEnded = true;
    else this.#transport.end();
  }

  destroy(): void {
    this.#transport.destroy();
  }

  #receive(chunk: Uint8Array, events: TransportEvents): void {
    if (this.#state.kind === "undecided" && chunk.length > 0) {
      if (chunk[0] === HTTP2_FIRST_BYTE) {
        this.#state = { kind: "loading", early: [], hasEnded: false };
        void this.#load();
      } else this.#state = { kind: "own" };
    }
    switch (this.#state.kind) {
      case "undecided":
      case "own":
        events.onData(chunk);
        return;
      case "loading":
        this.#keep(chunk, this.#state.early);
        return;
      case "other":
        this.#options.onReceived();
        this.#state.session.onData(chunk);
        return;
      case "closed":
        return;
    }
  }

  #keep(chunk: Uint8Array, early: Uint8Array[]): void {
    early.push(chunk);
    const length = early.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (length > EARLY_BYTES_MAX) this.#transport.destroy();
  }

  /** Never rejects: a protocol that cannot be loaded ends the connection. */
  async #load(): Promise<void> {
    try {
      const session = await this.#options.openSession(this.#transport);
      if (this.#state.kind !== "loading") {
        session.onClosed(undefined);
        return;
      }
      const { early, hasEnded } = this.#state;
      this.#state = { kind: "other", session };
      for (const chunk of early) session.onData(chunk);
      if (hasEnded) session.end();
    } catch (error) {
      this.#options.log.error("Cannot serve gRPC", { error: messageOf(error) });
      this.#transport.destroy();
    }
  }
}
