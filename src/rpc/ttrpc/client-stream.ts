/** The caller's end of one stream: encoded messages out, encoded messages in. */

import { ShimError } from "../../base/error.ts";
import { FLAG_NO_DATA, FLAG_REMOTE_CLOSED } from "./frame.ts";
import type { Inbox } from "./inbox.ts";

const NO_BYTES = new Uint8Array(0);

export interface ClientStreamOptions {
  readonly inbox: Inbox;
  /** Whether the method takes a stream of messages. */
  readonly isSending: boolean;
  readonly send: (flags: number, body: Uint8Array) => Promise<void>;
  /** Ends the call on this side; frames that still come are dropped. */
  readonly abandon: (error: Error) => void;
}

/**
 * A stream that is read as an async iterator. Whoever stops reading early returns the iterator
 * (as `break` does), or the messages that nobody takes hold up the connection for a moment.
 */
export class ClientStream implements AsyncIterableIterator<Uint8Array, undefined> {
  readonly #options: ClientStreamOptions;
  #isSending: boolean;

  constructor(options: ClientStreamOptions) {
    this.#options = options;
    this.#isSending = options.isSending;
  }

  /**
   * Sends a message, an empty one too; resolves when there is room for the next. Rejects with a
   * `ShimError`: `failedPrecondition` after {@link closeSend}, `canceled` when the call has
   * ended, `resourceExhausted` when the message is too long.
   */
  async send(message: Uint8Array): Promise<void> {
    if (!this.#isSending) {
      throw new ShimError("failedPrecondition", "Cannot send message: the sending side is closed");
    }
    await this.#options.send(0, message);
  }

  /** Tells the server that no message follows. Idempotent. */
  async closeSend(): Promise<void> {
    if (!this.#isSending) return;
    this.#isSending = false;
    await this.#options.send(FLAG_REMOTE_CLOSED | FLAG_NO_DATA, NO_BYTES);
  }

  /** Gives the call up: its reader gets `error`. Does nothing once the call has ended. */
  async abandon(error: Error): Promise<void> {
    try {
      // A handler that waits for messages must learn that none will come.
      await this.closeSend();
    } catch {
      // The call has ended already, so nobody waits.
    }
    this.#options.abandon(error);
  }

  next(): Promise<IteratorResult<Uint8Array, undefined>> {
    return this.#options.inbox.next();
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    const result = await this.#options.inbox.return();
    await this.abandon(new ShimError("canceled", "Cannot read message: the call was given up"));
    return result;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
