/**
 * Messages of one stream that have arrived and are not read yet.
 *
 * The protocol has no flow control, so this bound is all there is: whoever fills an inbox checks
 * {@link Inbox.isFull} afterwards and stops reading from the connection for a while.
 */

/** Messages a stream holds before reading stops. */
const MESSAGES_MAX = 64;
/** Bytes a stream holds before reading stops; a single message may be larger. */
const BYTES_MAX = 1024 * 1024;

type End = { readonly kind: "end" } | { readonly kind: "error"; readonly error: Error };

interface Waiter {
  resolve(result: IteratorResult<Uint8Array, undefined>): void;
  reject(error: Error): void;
}

/** A bounded queue that is read as an async iterator. Messages that came before the end are read first. */
export class Inbox implements AsyncIterableIterator<Uint8Array, undefined> {
  readonly #messages: Uint8Array[] = [];
  readonly #waiters: Waiter[] = [];
  #bytes = 0;
  #end: End | undefined;
  #onRoom: (() => void) | undefined;

  get isFull(): boolean {
    return this.#messages.length >= MESSAGES_MAX || this.#bytes >= BYTES_MAX;
  }

  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  /** Takes a message; one that comes after the end is dropped. */
  push(message: Uint8Array): void {
    if (this.#end !== undefined) return;
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) {
      waiter.resolve({ done: false, value: message });
      return;
    }
    this.#messages.push(message);
    this.#bytes += message.length;
  }

  /** No message follows. */
  end(): void {
    this.#close({ kind: "end" });
  }

  /** No message follows, and whoever reads past the last one learns why. */
  fail(error: Error): void {
    this.#close({ kind: "error", error });
  }

  /** Calls `onRoom` once, when half of the inbox is free again or nobody reads any more. */
  whenRoom(onRoom: (() => void) | undefined): void {
    this.#onRoom = onRoom;
  }

  next(): Promise<IteratorResult<Uint8Array, undefined>> {
    const message = this.#messages.shift();
    if (message !== undefined) {
      this.#bytes -= message.length;
      if (this.#messages.length <= MESSAGES_MAX / 2 && this.#bytes <= BYTES_MAX / 2) {
        this.#announceRoom();
      }
      return Promise.resolve({ done: false, value: message });
    }
    if (this.#end === undefined) {
      return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
    }
    if (this.#end.kind === "end") return Promise.resolve({ done: true, value: undefined });
    const { error } = this.#end;
    this.#end = { kind: "end" };
    return Promise.reject(error);
  }

  /** The reader has lost interest: what is here and what still comes is dropped. */
  return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.end();
    this.#messages.length = 0;
    this.#bytes = 0;
    this.#announceRoom();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #close(end: End): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#announceRoom();
    const waiters = this.#waiters.splice(0);
    for (const waiter of waiters) {
      if (this.#end.kind === "error") waiter.reject(this.#end.error);
      else waiter.resolve({ done: true, value: undefined });
      this.#end = { kind: "end" };
    }
  }

  #announceRoom(): void {
    const onRoom = this.#onRoom;
    this.#onRoom = undefined;
    onRoom?.();
  }
}
