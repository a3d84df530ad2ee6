/**
 * The services of a shim over gRPC, for managers that ask for it: grpc-js over our own transports.
 *
 * Only unary methods are served, which all of the Task API's are. This file brings in HTTP/2 and is
 * imported when a client speaks it, not before.
 */

import {
  type Metadata as GrpcMetadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
} from "@grpc/grpc-js";
import type { CallContext, Metadata, Method, MountedService } from "../service.ts";
import { statusOf } from "../status.ts";
import type { Transport } from "../ttrpc/transport.ts";
import type { Session } from "./shared-transport.ts";
import { TransportStream } from "./transport-stream.ts";

/** How long calls in flight may go on once a connection is being closed. */
const DRAIN_MS = 3000;
/** A status travels in a header, and clients limit the size of those. */
const DETAILS_LENGTH_MAX = 4096;

type Call = ServerUnaryCall<Buffer, Buffer>;

export class GrpcServer {
  /** Without grpc-js's own bookkeeping for debuggers, which nothing reads. */
  readonly #server = new Server({ "grpc.enable_channelz": 0 });

  constructor(services: readonly MountedService[]) {
    for (const { fullName, methods } of services) {
      for (const [name, method] of methods) {
        if (method.kind === "unary") this.#register(fullName, name, method);
      }
    }
  }

  /** Serves one connection. Whoever reads the transport feeds the session. */
  open(transport: Transport): Session {
    const injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    const stream = new TransportStream(transport);
    injector.injectConnection(stream);
    return {
      onData: (chunk) => stream.receive(chunk),
      onDrain: () => stream.proceed(),
      onClosed: () => {
        stream.lose();
        injector.destroy();
      },
      end: () => injector.drain(DRAIN_MS),
    };
  }

  #register(service: string, name: string, method: Method): void {
    // Messages stay bytes until a handler runs, so that a malformed one is answered as over ttrpc.
    this.#server.register<Buffer, Buffer>(
      `/${service}/${name}`,
      (call: Call, callback: sendUnaryData<Buffer>) =>
        void answer(method, call, new GrpcContext(service, name, call), callback),
      (bytes) => bytes,
      (bytes) => bytes,
      "unary",
    );
  }
}

/** Never rejects: whatever the handler throws becomes the answer. */
async function answer(
  method: Method,
  { request }: Call,
  context: CallContext,
  callback: sendUnaryData<Buffer>,
): Promise<void> {
  try {
    const output: unknown = await method.invoke(method.decodeRequest(request), context);
    callback(null, Buffer.from(method.encodeResponse(output)));
  } catch (error) {
    const { code, message } = statusOf(error);
    callback({ code, details: message.slice(0, DETAILS_LENGTH_MAX) });
  }
}

class GrpcContext implements CallContext {
  readonly service: string;
  readonly method: string;
  readonly deadlineMs: number | undefined;
  /** The socket let nobody else in; which peer exactly, grpc-js does not pass on. */
  readonly peer = {};
  readonly #call: Call;
  #signal: AbortSignal | undefined;

  constructor(service: string, method: string, call: Call) {
    this.service = service;
    this.method = method;
    this.#call = call;
    const leftMs = Number(call.getDeadline()) - Date.now();
    this.deadlineMs = Number.isFinite(leftMs) ? performance.now() + leftMs : undefined;
  }

  /** Created on first use, which for handlers is before they first wait. */
  get signal(): AbortSignal {
    if (this.#signal === undefined) {
      const controller = new AbortController();
      if (this.#call.cancelled) controller.abort();
      else this.#call.once("cancelled", () => controller.abort());
      this.#signal = controller.signal;
    }
    return this.#signal;
  }

  get metadata(): Metadata {
    return toMetadata(this.#call.metadata);
  }
}

function toMetadata(metadata: GrpcMetadata): Metadata {
  const keys = Object.keys(metadata.getMap());
  return new Map(keys.map((key) => [key, metadata.get(key).map(String)]));
}
