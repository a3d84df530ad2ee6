/**
 * Transports over Bun's own sockets: the shim's way to serve and to call.
 *
 * Every transport names its descriptor, so that a peer's credentials can be read from it and a
 * handoff can pass it on. Inherited descriptors can be listened on and adopted.
 */

import type { Socket, SocketHandler } from "bun";
import { ShimError } from "../../base/error.ts";
import { linger } from "../../linux/linger.ts";
import { isReadable } from "../../linux/pipe.ts";
import type { Peer } from "../service.ts";
import { TtrpcClient } from "./client.ts";
import type { Acceptor, Listener } from "./server.ts";
import type { Transport, TransportEvents } from "./transport.ts";

// Bun has these, though its types do not say so.
declare module "bun" {
  interface Socket {
    readonly fd: number;
  }
  function listen<Data>(options: FdSocketOptions<Data>): SocketListener<Data>;
  function connect<Data>(options: FdSocketOptions<Data>): Promise<Socket<Data>>;
}

/** Received bytes are garbage as soon as they are parsed; the engine lets more of them pile up than a shim may hold. */
const GARBAGE_BYTES_MAX = 32 * 1024 * 1024;
let garbageBytes = 0;

function noteReceived(bytes: number): void {
  garbageBytes += bytes;
  if (garbageBytes < GARBAGE_BYTES_MAX) return;
  garbageBytes = 0;
  Bun.gc(true);
}

/** What happened before anybody listened. */
interface Early {
  readonly chunks: Uint8Array[];
  hasClosed: boolean;
  error: Error | undefined;
}

/** A transport over a connected Bun socket, which it owns. */
class BunTransport implements Transport {
  readonly #socket: Socket<BunTransport>;
  #events: TransportEvents | undefined;
  #error: Error | undefined;
  readonly #look: Disposable;
  #isWaiting = false;
  #isPaused = false;
  #early: Early | undefined = { chunks: [], hasClosed: false, error: undefined };

  constructor(socket: Socket<BunTransport>) {
    this.#socket = socket;
    this.#look = linger.watch(() => this.fd >= 0 && isReadable(this.fd));
  }

  get fd(): number {
    return this.#socket.fd;
  }

  /** Reads nothing before {@link start}. */
  wait(): void {
    this.#isWaiting = true;
    this.#socket.pause();
  }

  start(events: TransportEvents): void {
    if (this.#isWaiting && !this.#isPaused) this.#socket.resume();
    this.#isWaiting = false;
    this.#events = events;
    const early = this.#early;
    this.#early = undefined;
    for (const chunk of early?.chunks ?? []) events.onData(chunk);
    if (early?.hasClosed) events.onClosed(early.error);
  }

  write(bytes: Uint8Array): number {
    const taken = this.#socket.write(bytes);
    if (taken >= 0) return taken;
    // The peer has gone. Bun 1.4 reports it only here when the socket is paused, and would keep
    // it forever. Not within this call, which may come from anywhere.
    queueMicrotask(() => this.#socket.terminate());
    return 0;
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (!this.#isWaiting) this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.terminate();
  }

  receive(chunk: Uint8Array): void {
    noteReceived(chunk.length);
    linger.noteEvent();
    if (this.#events === undefined) this.#early?.chunks.push(chunk);
    else this.#events.onData(chunk);
    linger.noteServed();
    linger.stayAwake();
  }

  failed(error: Error): void {
    this.#error ??= error;
    this.#socket.terminate();
  }

  drain(): void {
    this.#events?.onDrain();
  }

  closed(closeError: Error | undefined): void {
    this.#look[Symbol.dispose]();
    const error = this.#error ?? closeError;
    if (this.#events !== undefined) this.#events.onClosed(error);
    else if (this.#early !== undefined) {
      this.#early.hasClosed = true;
      this.#early.error = error;
    }
  }
}

/** The events of a socket, passed to its transport, which `onOpen` is given first. */
function handlerOf(onOpen: (transport: BunTransport) => void): SocketHandler<BunTransport> {
  return {
    binaryType: "uint8array",
    open: (socket) => {
      socket.data = new BunTransport(socket);
      onOpen(socket.data);
    },
    data: (socket, chunk) => socket.data.receive(chunk),
    drain: (socket) => socket.data.drain(),
    close: (socket, error) => socket.data.closed(error),
    // Also where Bun reports what one of our handlers threw: a bug, which ends this connection.
    error: (socket, error) => socket.data.failed(error),
  };
}

/** A descriptor, which is owned here from now on, or the path of a unix socket. */
export type BunAddress = { readonly fd: number } | { readonly unix: string };

/**
 * Listens on a path or an inherited listening descriptor and serves every connection with
 * `server`, whose end ends the listener. `accept` is lent the descriptor of a new connection: it
 * names the peer, or refuses it by returning undefined. Throws when the address cannot be used.
 */
export function listenBun(
  server: Acceptor,
  address: BunAddress,
  accept: (fd: number) => Peer | undefined = () => ({}),
): Listener {
  const socket = handlerOf((transport) => {
    const peer = accept(transport.fd);
    if (peer === undefined) transport.destroy();
    else server.serve(transport, peer);
  });
  const listening =
    "fd" in address
      ? Bun.listen<BunTransport>({ fd: address.fd, socket })
      : Bun.listen<BunTransport>({ unix: address.unix, socket });
  const listener = { close: () => listening.stop() };
  server.addListener(listener);
  return listener;
}

/**
 * Connects a client to a path, or makes one from a connected descriptor. Rejects when nobody
 * listens at the path or the descriptor is not a connected socket.
 */
export async function connectBun(address: BunAddress): Promise<TtrpcClient> {
  return new TtrpcClient(await openTransport(address));
}

/**
 * A transport over a connected descriptor, which it owns from now on. Nothing is read from it before it is
 * started. Throws ShimError `invalidArgument` for what is not a connected socket.
 */
export function inheritBun(fd: number): Transport {
  let inherited: BunTransport | undefined;
  const socket = handlerOf((transport) => {
    inherited = transport;
    transport.wait();
  });
  const connecting = Bun.connect<BunTransport>({ fd, socket });
  // An open socket is reported within the call. For anything else the promise rejects with what is thrown here.
  connecting.catch(() => {});
  if (inherited === undefined) {
    throw new ShimError("invalidArgument", `Cannot serve descriptor ${fd}: it is not a connection`);
  }
  return inherited;
}

async function openTransport(address: BunAddress): Promise<Transport> {
  const opened = Promise.withResolvers<BunTransport>();
  const socket = handlerOf((transport) => opened.resolve(transport));
  const connecting =
    "fd" in address
      ? Bun.connect<BunTransport>({ fd: address.fd, socket })
      : Bun.connect<BunTransport>({ unix: address.unix, socket });
  await connecting;
  return await opened.promise;
}
