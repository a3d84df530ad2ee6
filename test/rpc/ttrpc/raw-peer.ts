/** The other end of a connection, which may say anything: frames as they are on the wire. */

import type { Socket } from "bun";
import { Request, Response } from "../../../src/gen/ttrpc/request.ts";
import { encodeFrame, type Frame, FrameDecoder } from "../../../src/rpc/ttrpc/frame.ts";

export class RawPeer implements Disposable {
  readonly #decoder = new FrameDecoder(64 * 1024 * 1024);
  readonly #frames: Frame[] = [];
  readonly #readers: ((frame: Frame | undefined) => void)[] = [];
  readonly #drained: (() => void)[] = [];
  #socket: Socket | undefined;
  hasClosed = false;

  /** Connects to a server. */
  static async connect(unix: string): Promise<RawPeer> {
    const peer = new RawPeer();
    peer.#attach(await Bun.connect({ unix, socket: peer.#handler() }));
    return peer;
  }

  /** Waits for one client; disposing the result ends the listener too. */
  static listen(unix: string): { readonly peer: Promise<RawPeer> } & Disposable {
    const accepted = Promise.withResolvers<RawPeer>();
    const peer = new RawPeer();
    const open = (socket: Socket) => {
      peer.#attach(socket);
      accepted.resolve(peer);
    };
    const listener = Bun.listen({ unix, socket: { ...peer.#handler(), open } });
    return { peer: accepted.promise, [Symbol.dispose]: () => listener.stop(true) };
  }

  /** Sends bytes, all of them. */
  async write(bytes: Uint8Array): Promise<void> {
    let rest = bytes;
    while (rest.length > 0 && !this.hasClosed) {
      const taken = this.#socket?.write(rest) ?? -1;
      if (taken < 0) return;
      rest = rest.subarray(taken);
      if (rest.length > 0) await new Promise<void>((resolve) => this.#drained.push(resolve));
    }
  }

  async send(streamId: number, type: number, flags: number, body: Uint8Array): Promise<void> {
    await this.write(encodeFrame(streamId, type, flags, body));
  }

  async request(
    streamId: number,
    method: string,
    payload: Uint8Array,
    options: { flags?: number; service?: string; timeoutNano?: bigint } = {},
  ): Promise<void> {
    const { flags = 0, service = "test.Chat", timeoutNano = 0n } = options;
    const request = { service, method, payload, timeoutNano, metadata: [] };
    await this.send(streamId, 1, flags, Request.encode(request).finish());
  }

  /** The next frame, or undefined once the connection has closed. */
  read(): Promise<Frame | undefined> {
    const frame = this.#frames.shift();
    if (frame !== undefined || this.hasClosed) return Promise.resolve(frame);
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  /** The next frame's stream id and response. Throws when it is none. */
  async response(): Promise<{
    streamId: number;
    code: number;
    message: string;
    payload: Uint8Array;
  }> {
    const frame = await this.read();
    if (frame?.type !== 2) throw new Error(`No response: ${JSON.stringify(frame)}`);
    const { status, payload } = Response.decode(frame.body ?? new Uint8Array(0));
    const { streamId } = frame;
    return { streamId, code: status?.code ?? 0, message: status?.message ?? "", payload };
  }

  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  [Symbol.dispose](): void {
    this.#socket?.terminate();
  }

  #attach(socket: Socket): void {
    this.#socket = socket;
  }

  #handler() {
    return {
      binaryType: "uint8array",
      data: (_socket: Socket, chunk: Uint8Array) => {
        this.#decoder.feed(chunk);
        for (let frame = this.#decoder.next(); frame; frame = this.#decoder.next()) {
          const reader = this.#readers.shift();
          if (reader === undefined) this.#frames.push(frame);
          else reader(frame);
        }
      },
      drain: () => {
        for (const resume of this.#drained.splice(0)) resume();
      },
      close: () => {
        this.hasClosed = true;
        for (const reader of this.#readers.splice(0)) reader(undefined);
        for (const resume of this.#drained.splice(0)) resume();
      },
    } as const;
  }
}
