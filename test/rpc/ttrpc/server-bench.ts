/** What the tests of the server share: a server that serves {@link Chat}, and words on the wire. */

import { expect } from "bun:test";
import { KeyValue } from "../../../src/gen/ttrpc/request.ts";
import { mountService } from "../../../src/rpc/service.ts";
import { connectBun, listenBun } from "../../../src/rpc/ttrpc/bun.ts";
import { TtrpcServer } from "../../../src/rpc/ttrpc/server.ts";
import { createStub } from "../../../src/rpc/ttrpc/stub.ts";
import { Chat, ChatDefinition } from "./chat-service.ts";
import type { RawPeer } from "./raw-peer.ts";
import { ScratchFolder } from "./scratch-folder.ts";

export const NO_BYTES = new Uint8Array(0);

export const REMOTE_CLOSED = 1;
export const REMOTE_OPEN = 2;
export const NO_DATA = 4;

export const INVALID_ARGUMENT = 3;
export const DEADLINE_EXCEEDED = 4;
export const NOT_FOUND = 5;
export const RESOURCE_EXHAUSTED = 8;
export const UNIMPLEMENTED = 12;
export const INTERNAL = 13;
export const UNAVAILABLE = 14;

/** A server on a path of its own, and clients for it. */
export class Bench implements AsyncDisposable {
  readonly folder = new ScratchFolder();
  readonly chat: Chat;
  readonly server: TtrpcServer;
  readonly path = this.folder.socket();

  constructor(chat = new Chat()) {
    this.chat = chat;
    this.server = new TtrpcServer({ services: [mountService(ChatDefinition, chat)] });
    listenBun(this.server, { unix: this.path }, () => ({ pid: process.pid }));
  }

  async stub() {
    const client = await connectBun({ unix: this.path });
    return { client, call: createStub(client, ChatDefinition) };
  }

  /** Calls at work, over all connections. */
  get callCount(): number {
    return [...this.server.connections].reduce((total, { calls }) => total + [...calls].length, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.close();
    await this.server.shutdown(0);
    this.folder[Symbol.dispose]();
  }
}

export function encode(value: string, key = ""): Uint8Array {
  return KeyValue.encode({ key, value }).finish();
}

export function textOf(payload: Uint8Array | undefined): string {
  return KeyValue.decode(payload ?? NO_BYTES).value;
}

/** Proves that the connection lives. */
export async function expectEcho(peer: RawPeer, streamId: number): Promise<void> {
  await peer.request(streamId, "Echo", encode("alive"));
  const response = await peer.response();
  expect({ ...response, payload: textOf(response.payload) }).toEqual({
    streamId,
    code: 0,
    message: "",
    payload: "alive",
  });
}
