/** A ttrpc server and whatever bytes come over a connection: answers are well formed, and it carries on. */

import { strict as assert } from "node:assert";
import { TaskDefinition } from "../../../src/gen/containerd/task/v3/task.ts";
import { Request, Response } from "../../../src/gen/ttrpc/request.ts";
import { mountService } from "../../../src/rpc/service.ts";
import {
  encodeFrame,
  FrameDecoder,
  TYPE_REQUEST,
  TYPE_RESPONSE,
} from "../../../src/rpc/ttrpc/frame.ts";
import { TtrpcServer } from "../../../src/rpc/ttrpc/server.ts";
import type { Transport, TransportEvents } from "../../../src/rpc/ttrpc/transport.ts";
import type { FuzzTarget } from "../target.ts";

const NONE = new Uint8Array(0);
const SERVICE = "containerd.task.v3.Task";

/** A connection whose far end is this file. */
class MemoryTransport implements Transport {
  readonly fd = undefined;
  readonly answers = new FrameDecoder();
  #events: TransportEvents | undefined;

  start(events: TransportEvents): void {
    this.#events = events;
  }

  receive(bytes: Uint8Array): void {
    this.#events?.onData(bytes);
  }

  write(bytes: Uint8Array): number {
    this.answers.feed(bytes);
    return bytes.length;
  }

  pause(): void {}

  resume(): void {}

  end(): void {
    this.#events?.onClosed(undefined);
  }

  destroy(): void {
    this.#events?.onClosed(undefined);
  }
}

/** Answers every method with the default message, whatever it is asked. */
function emptyService() {
  const handlers = Object.entries(TaskDefinition.methods).map(([name, method]) => [
    name,
    () => method.responseType.decode(NONE),
  ]);
  const implementation: unknown = Object.fromEntries(handlers);
  return implementation;
}

const server = new TtrpcServer({
  services: [mountService(TaskDefinition, emptyService() as never)],
});

function request(streamId: number, method: string, flags = 0, service = SERVICE): Uint8Array {
  const message = { service, method, payload: NONE, timeoutNano: 0n, metadata: [] };
  return encodeFrame(streamId, TYPE_REQUEST, flags, Request.encode(message).finish());
}

export const serverTarget: FuzzTarget = {
  name: "server",
  seeds: [
    request(1, "State"),
    Buffer.concat([request(1, "Create"), request(3, "Wait"), request(5, "Connect")]),
    Buffer.concat([request(1, "State", 2), encodeFrame(1, 3, 1, NONE), encodeFrame(1, 3, 5, NONE)]),
    request(7, "Nothing", 1, "no.Service"),
    encodeFrame(9, TYPE_RESPONSE, 0, NONE),
  ],
  words: [
    "\0\0\0\0\0\0\0\x01\x03\x05",
    SERVICE,
    "State",
    "\0\0\0\x02\x01\0",
    "\0\x40\0\x01",
    "\x0a",
  ],
  async run(input) {
    const transport = new MemoryTransport();
    server.serve(transport);
    transport.receive(input.slice());
    await Promise.resolve();
    for (let frame = transport.answers.next(); frame; frame = transport.answers.next()) {
      assert.ok(frame.body !== undefined);
      if (frame.type === TYPE_RESPONSE) Response.decode(frame.body);
    }
    transport.destroy();
    assert.equal(server.connections.size, 0);
    expectAlive();
  },
};

/** Another connection is served as before. */
function expectAlive(): void {
  const transport = new MemoryTransport();
  server.serve(transport);
  transport.receive(request(1, "State"));
  const frame = transport.answers.next();
  assert.ok(frame?.body !== undefined);
  assert.equal(Response.decode(frame.body).status, undefined);
  transport.destroy();
}
