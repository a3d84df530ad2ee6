import { describe, expect, test } from "bun:test";
import { mountService } from "../../../src/rpc/service.ts";
import { connectBun, listenBun } from "../../../src/rpc/ttrpc/bun.ts";
import { TtrpcServer } from "../../../src/rpc/ttrpc/server.ts";
import { createStub } from "../../../src/rpc/ttrpc/stub.ts";
import { Chat, ChatDefinition, word } from "./chat-service.ts";
import { ScratchFolder } from "./scratch-folder.ts";

describe("a server that is held", () => {
  test.each([0, 1, 3])("lets clients go that leave meanwhile, after %d holds", async (holds) => {
    using folder = new ScratchFolder();
    using server = new TtrpcServer({ services: [mountService(ChatDefinition, new Chat())] });
    listenBun(server, { unix: folder.socket() });
    const client = await connectBun({ unix: folder.socket() });
    await createStub(client, ChatDefinition).echo(word("a"));
    for (let hold = 0; hold < holds; hold++) {
      server.hold();
      await Bun.sleep(20);
      server.release();
    }
    server.hold();
    await Bun.sleep(20);
    client.close();
    await Bun.sleep(50);
    server.release();
    for (let look = 0; look < 100 && server.connections.size > 0; look++) await Bun.sleep(10);
    expect(server.connections.size).toBe(0);
  });
});
