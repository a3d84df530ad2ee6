/**
 * Copies one stream of this process to or from a FIFO of the container, without losing a byte and
 * without blocking: what the reader does not take now stays in the pipe, where it holds up the writer.
 */

import { fstatSync } from "node:fs";
import { hasCode, SystemError } from "../../linux/errno.ts";
import {
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  type OwnedFd,
  openFd,
  readFd,
  writeFd,
} from "../../linux/fd.ts";
import type { Poller, Watch } from "../../linux/poller.ts";
import { O_NOCTTY } from "../../linux/pty.ts";

const BUFFER_BYTES = 262_144;
/** A pipe that is writable takes this much without waiting (pipe(7), PIPE_BUF). */
const BLOCKING_WRITE_BYTES = 4096;
/** Buffers moved before others get their turn. */
const ROUNDS_PER_TURN = 16;

/** One end of a relay. Disposing closes what was opened for it. */
export interface Endpoint extends Disposable {
  readonly fd: number;
  /** How much one write may take: all, or what a blocking descriptor takes without waiting. */
  readonly writeBytesMax: number;
}

/** A descriptor opened non-blocking, which the endpoint owns from now on. */
export function ownedEndpoint(owned: OwnedFd): Endpoint {
  return {
    fd: owned.fd,
    writeBytesMax: BUFFER_BYTES,
    [Symbol.dispose]: () => owned[Symbol.dispose](),
  };
}

/**
 * A standard stream of this process. Its open file description is shared with others, for instance a
 * shell, and must stay blocking; so a pipe or terminal is reopened where possible.
 */
export function openStandardStream(fd: number, direction: "read" | "write"): Endpoint {
  const stat = statOpen(fd);
  if (stat === undefined) return ownedEndpoint(openFd("/dev/null", O_RDWR));
  if (stat.isFile()) return { fd, writeBytesMax: BUFFER_BYTES, [Symbol.dispose]: () => {} };
  if (stat.isFIFO() || stat.isCharacterDevice()) {
    try {
      const flags = (direction === "read" ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_NOCTTY;
      return ownedEndpoint(openFd(`/proc/self/fd/${fd}`, flags));
    } catch {
      // Another user's terminal, a pipe that nobody reads, no /proc: used as it was given, then.
    }
  }
  return { fd, writeBytesMax: BLOCKING_WRITE_BYTES, [Symbol.dispose]: () => {} };
}

function statOpen(fd: number) {
  try {
    return fstatSync(fd);
  } catch {
    return undefined;
  }
}

/** How a relay ended: the source is at its end and everything is written, or the sink takes no more. */
export type RelayEnd =
  | { readonly kind: "eof" }
  /** The input said that no more is to be passed on. */
  | { readonly kind: "left" }
  | { readonly kind: "broken"; readonly error: SystemError };

/** One direction. It owns both endpoints and closes them when it has ended or is disposed. */
export class ByteRelay implements Disposable {
  /** Never rejects; never resolves once disposed. */
  readonly ended: Promise<RelayEnd>;
  readonly #poller: Poller;
  readonly #source: Endpoint;
  readonly #sink: Endpoint;
  readonly #resolve: (end: RelayEnd) => void;
  readonly #isLast: (chunk: Uint8Array) => boolean;
  readonly #buffer = Buffer.allocUnsafe(BUFFER_BYTES);
  #pending: Uint8Array = this.#buffer.subarray(0, 0);
  #wait: Disposable | undefined;
  #isOver = false;
  #movedAtMs = performance.now();

  /** `isLast` is called with each piece that is read; one for which it is true ends the relay and is not passed on. */
  constructor(
    poller: Poller,
    source: Endpoint,
    sink: Endpoint,
    isLast: (chunk: Uint8Array) => boolean = () => false,
  ) {
    this.#isLast = isLast;
    const { promise, resolve } = Promise.withResolvers<RelayEnd>();
    this.ended = promise;
    this.#resolve = resolve;
    this.#poller = poller;
    this.#source = source;
    this.#sink = sink;
    // Not read before it is ready: a FIFO that no writer has opened yet reads as ended.
    this.#waitFor(source, "readable");
  }

  /** How long nothing has come, in milliseconds; 0 while the relay waits for the sink. */
  get quietMs(): number {
    return this.#pending.length > 0 ? 0 : performance.now() - this.#movedAtMs;
  }

  [Symbol.dispose](): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#wait?.[Symbol.dispose]();
    this.#source[Symbol.dispose]();
    this.#sink[Symbol.dispose]();
  }

  #finish(end: RelayEnd): void {
    this[Symbol.dispose]();
    this.#resolve(end);
  }

  #pump(): void {
    for (let round = 0; round < ROUNDS_PER_TURN; round++) {
      if (this.#pending.length === 0) {
        const step = this.#read();
        if (step === "again") break;
        if (step === "ended" || step === "left") {
          this.#finish({ kind: step === "left" ? "left" : "eof" });
          return;
        }
      }
      const step = this.#write();
      if (step === "again") break;
      if (step instanceof SystemError) {
        this.#finish({ kind: "broken", error: step });
        return;
      }
      // A descriptor that may block is checked again before each transfer.
      if (this.#sink.writeBytesMax < BUFFER_BYTES) break;
    }
    if (this.#pending.length > 0) this.#waitFor(this.#sink, "writable");
    else this.#waitFor(this.#source, "readable");
  }

  #read(): "moved" | "again" | "ended" | "left" {
    try {
      const count = readFd(this.#source.fd, this.#buffer);
      if (count === "again") return "again";
      if (count === 0) return "ended";
      this.#pending = this.#buffer.subarray(0, count);
      this.#movedAtMs = performance.now();
      return this.#isLast(this.#pending) ? "left" : "moved";
    } catch (error) {
      // A terminal that has hung up reports an error; nothing more comes from any other source either.
      if (error instanceof SystemError) return "ended";
      throw error;
    }
  }

  #write(): "moved" | "again" | SystemError {
    const chunk = this.#pending.subarray(0, this.#sink.writeBytesMax);
    try {
      const count = writeFd(this.#sink.fd, chunk);
      if (count === "again") return "again";
      this.#pending = this.#pending.subarray(count);
      this.#movedAtMs = performance.now();
      return "moved";
    } catch (error) {
      if (error instanceof SystemError) return error;
      throw error;
    }
  }

  /** Waits for readiness once, then pumps. A file is always ready and cannot be watched (epoll_ctl(2), EPERM). */
  #waitFor(endpoint: Endpoint, what: "readable" | "writable"): void {
    this.#wait?.[Symbol.dispose]();
    const go = () => {
      this.#wait?.[Symbol.dispose]();
      this.#wait = undefined;
      if (!this.#isOver) this.#pump();
    };
    this.#wait = this.#tryWatch(endpoint.fd, what, go) ?? later(go);
  }

  #tryWatch(fd: number, what: "readable" | "writable", go: () => void): Watch | undefined {
    try {
      return this.#poller.watch(fd, { [what]: true }, go);
    } catch (error) {
      if (hasCode(error, "EPERM")) return undefined;
      throw error;
    }
  }
}

function later(go: () => void): Disposable {
  const immediate = setImmediate(go);
  return { [Symbol.dispose]: () => clearImmediate(immediate) };
}
