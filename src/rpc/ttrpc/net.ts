/** Transports over node:net, for Node and Bun. The shim itself uses `bun.ts`, which costs nothing to import. */

import { createConnection, createServer, type Server, type Socket } from "node:net";
import type { Peer } from "../service.ts";
import { TtrpcClient } from "./client.ts";
import type { Listener, TtrpcServer } from "./server.ts";
import type { Transport, TransportEvents } from "./transport.ts";

/** A transport over a connected socket, which it owns from now on. */
export class NetTransport implements Transport {
  /** node:net does not tell. */
  readonly fd = undefined;
  readonly #socket: Socket;
  #error: Error | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.pause();
    // A socket reports why it closes before it does, whether or not anyone has started listening.
    socket.on("error", (error) => {
      this.#error = error;
    });
  }

  start(events: TransportEvents): void {
    const socket = this.#socket;
    socket.on("data", (chunk) => {
      if (typeof chunk === "string") return;
      events.onData(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length));
    });
    socket.on("drain", () => events.onDrain());
    socket.on("close", () => events.onClosed(this.#error));
    if (socket.destroyed) queueMicrotask(() => events.onClosed(this.#error));
    else socket.resume();
  }

  write(bytes: Uint8Array): number {
    // A write while a drain is due would be kept in a queue of the socket's own.
    if (this.#socket.writableNeedDrain) return 0;
    this.#socket.write(bytes);
    return bytes.length;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end(() => this.#socket.destroy());
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** Where to listen or connect, as node:net takes it. */
export type NetAddress =
  | { readonly path: string }
  | { readonly port: number; readonly host?: string };

/**
 * Listens and serves every connection with `server`, whose end ends the listener. `accept` may
 * look at a socket and refuse it by returning undefined. Rejects when the address cannot be used.
 */
export async function listenNet(
  server: TtrpcServer,
  address: NetAddress,
  accept: (socket: Socket) => Peer | undefined = () => ({}),
): Promise<Listener> {
  const listening = createServer((socket) => {
    const peer = accept(socket);
    if (peer === undefined) socket.destroy();
    else server.serve(new NetTransport(socket), peer);
  });
  await new Promise<void>((resolve, reject) => {
    listening.once("error", reject);
    listening.listen(address, resolve);
  });
  const listener = closeOnce(listening);
  server.addListener(listener);
  return listener;
}

/** Connects a client. Rejects when nobody listens at the address. */
export async function connectNet(address: NetAddress): Promise<TtrpcClient> {
  const socket = createConnection(address);
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.once("connect", resolve);
  });
  return new TtrpcClient(new NetTransport(socket));
}

function closeOnce(server: Server): Listener {
  return {
    close: () => {
      if (server.listening) server.close();
    },
  };
}
