import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { readableBytes } from "../../../src/linux/fd.ts";
import { peerCredentials } from "../../../src/linux/peer-credentials.ts";
import { acceptUnix, listenUnix } from "../../../src/linux/scm-rights.ts";
import { mountService, type Peer } from "../../../src/rpc/service.ts";
import { connectBun, inheritBun, listenBun } from "../../../src/rpc/ttrpc/bun.ts";
import { TtrpcServer } from "../../../src/rpc/ttrpc/server.ts";
import { createStub } from "../../../src/rpc/ttrpc/stub.ts";
import { Chat, ChatDefinition, word } from "./chat-service.ts";
import { ScratchFolder } from "./scratch-folder.ts";

/** A number that nothing has. */
const CLOSED_FD = 100_000;

function chatServer(): TtrpcServer {
  return new TtrpcServer({ services: [mountService(ChatDefinition, new Chat())] });
}

describe("listenBun()", () => {
  test("serves on a listening descriptor it is given, and closes it with the server", async () => {
    using folder = new ScratchFolder();
    const before = readdirSync("/proc/self/fd").length;
    const server = chatServer();
    const peers: Peer[] = [];
    listenBun(server, { fd: listenUnix(folder.socket()).release() }, (fd) => {
      const peer = peerCredentials(fd);
      peers.push(peer);
      return peer;
    });
    const client = await connectBun({ unix: folder.socket() });
    expect(await createStub(client, ChatDefinition).echo(word("a"))).toEqual(word("a"));
    expect(peers).toMatchObject([{ pid: process.pid, uid: process.getuid?.() }]);
    client.close();
    await server.shutdown(1000);
    expect(readdirSync("/proc/self/fd").length).toBe(before);
  });

  test("refuses a connection whose accept says so", async () => {
    using folder = new ScratchFolder();
    using server = chatServer();
    listenBun(server, { unix: folder.socket() }, () => undefined);
    using client = await connectBun({ unix: folder.socket() });
    await client.closed;
    expect(server.connections.size).toBe(0);
  });
});

describe("inheritBun()", () => {
  test("makes a transport of a connection that was accepted before, and reads nothing before it is started", async () => {
    using folder = new ScratchFolder();
    using listener = listenUnix(folder.socket());
    using client = await connectBun({ unix: folder.socket() });
    const early = createStub(client, ChatDefinition).echo(word("early"));
    const accepted = acceptUnix(listener.fd);
    if (accepted === "again") throw new Error("Nobody has connected");
    using server = chatServer();
    const transport = inheritBun(accepted.fd);
    await Bun.sleep(20);
    expect(readableBytes(accepted.release())).toBeGreaterThan(0);
    server.serve(transport, { pid: 7 });
    expect(await early).toEqual(word("early"));
    expect([...server.connections].map(({ peer }) => peer.pid)).toEqual([7]);
  });

  test("refuses what is not a connection", () => {
    expect(() => inheritBun(CLOSED_FD)).toThrow("it is not a connection");
  });
});

describe("connectBun()", () => {
  test("calls over a connected descriptor it is given", async () => {
    using folder = new ScratchFolder();
    using listener = listenUnix(folder.socket());
    const serving = await connectBun({ unix: folder.socket() });
    const accepted = acceptUnix(listener.fd);
    if (accepted === "again") throw new Error("Nobody has connected");
    using client = await connectBun({ fd: accepted.release() });
    expect(client.fd).toBeGreaterThan(2);
    const call = createStub(client, ChatDefinition).echo(word("a"));
    serving.close();
    await expect(call).rejects.toEqual(expect.objectContaining({ reason: "unavailable" }));
  });
});
