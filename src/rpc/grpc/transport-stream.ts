/** A transport as the duplex stream that HTTP/2 implementations take for a socket. */

import { Duplex } from "node:stream";
import type { Transport } from "../ttrpc/transport.ts";

type Done = (error?: Error | null) => void;

/** Its owner feeds it: {@link receive}, {@link proceed} and {@link lose}. */
export class TransportStream extends Duplex {
  readonly #transport: Transport;
  /** What the transport has not taken yet; one write at a time. */
  #unsent: { readonly bytes: Uint8Array; readonly done: Done } | undefined;

  constructor(transport: Transport) {
    super();
    this.#transport = transport;
  }

  receive(chunk: Uint8Array): void {
    if (!this.push(chunk)) this.#transport.pause();
  }

  /** The transport takes more. */
  proceed(): void {
    const unsent = this.#unsent;
    this.#unsent = undefined;
    if (unsent !== undefined) this.#send(unsent.bytes, unsent.done);
  }

  /** The connection is gone. Nobody here waits for the reason. */
  lose(): void {
    this.push(null);
    this.destroy();
  }

  override _read(): void {
    this.#transport.resume();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: Done): void {
    this.#send(chunk, done);
  }

  override _final(done: Done): void {
    this.#transport.end();
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    this.#unsent?.done(error ?? new Error("The connection was closed"));
    this.#unsent = undefined;
    this.#transport.destroy();
    done(error);
  }

  #send(bytes: Uint8Array, done: Done): void {
    const taken = this.#transport.write(bytes);
    if (taken === bytes.length) done();
    else this.#unsent = { bytes: bytes.subarray(taken), done };
  }
}
