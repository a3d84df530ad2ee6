import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { KeyValue, Request, Response } from "../../../src/gen/ttrpc/request.ts";
import { mountService } from "../../../src/rpc/service.ts";
import { connectBun, listenBun } from "../../../src/rpc/ttrpc/bun.ts";
import { BODY_LENGTH_MAX, encodeFrame } from "../../../src/rpc/ttrpc/frame.ts";
import { connectNet, listenNet } from "../../../src/rpc/ttrpc/net.ts";
import { TtrpcServer } from "../../../src/rpc/ttrpc/server.ts";
import { createStub } from "../../../src/rpc/ttrpc/stub.ts";
import { Chat, ChatDefinition, word } from "./chat-service.ts";
import { RawPeer } from "./raw-peer.ts";
import { ScratchFolder } from "./scratch-folder.ts";

const NO_BYTES = new Uint8Array(0);

/** A client of a server that says what the test says. */
async function connectRaw() {
  const stack = new DisposableStack();
  const folder = stack.use(new ScratchFolder());
  const listener = stack.use(RawPeer.listen(folder.socket()));
  const client = stack.use(await connectBun({ unix: folder.socket() }));
  const peer = stack.use(await listener.peer);
  const call = createStub(client, ChatDefinition);
  return { client, call, peer, [Symbol.dispose]: () => stack.dispose() };
}

/** A client of a real server, over either kind of socket. */
async function connectChat(kind: "bun" | "net") {
  const folder = new ScratchFolder();
  const chat = new Chat();
  const server = new TtrpcServer({ services: [mountService(ChatDefinition, chat)] });
  const path = folder.socket();
  if (kind === "bun") listenBun(server, { unix: path });
  else await listenNet(server, { path });
  const client = kind === "bun" ? await connectBun({ unix: path }) : await connectNet({ path });
  return {
    client,
    chat,
    server,
    call: createStub(client, ChatDefinition),
    [Symbol.asyncDispose]: async () => {
      client.close();
      await server.shutdown(1000);
      folder[Symbol.dispose]();
    },
  };
}

function answer(value: string): Uint8Array {
  const payload = KeyValue.encode(word(value)).finish();
  return Response.encode({ status: undefined, payload }).finish();
}

async function* words(...values: string[]) {
  for (const value of values) yield word(value);
}

async function collect(stream: AsyncIterable<KeyValue>): Promise<string[]> {
  const values: string[] = [];
  for await (const { value } of stream) values.push(value);
  return values;
}

function reason(name: string) {
  return expect.objectContaining({ name: "ShimError", reason: name });
}

describe.each(["bun", "net"] as const)("TtrpcClient over %s sockets", (kind) => {
  test("calls every kind of method", async () => {
    await using chat = await connectChat(kind);
    expect(await chat.call.echo(word("a"))).toEqual(word("a"));
    expect(await chat.call.echo(word(""))).toEqual(word(""));
    expect(await collect(chat.call.count(word("3")))).toEqual(["0", "1", "2"]);
    expect(await collect(chat.call.count(word("0")))).toEqual([]);
    expect(await chat.call.join(words("a", "", "b"))).toEqual(word("a++b"));
    expect(await collect(chat.call.talk(words("a", "b")))).toEqual(["A", "B", "BYE"]);
  });

  test("a megabyte goes both ways", async () => {
    await using chat = await connectChat(kind);
    const value = "x".repeat(1024 * 1024);
    const answers = await Promise.all(Array.from({ length: 8 }, () => chat.call.echo(word(value))));
    expect(answers.every((response) => response.value === value)).toBe(true);
  });

  test("a stream of 20000 messages loses none and keeps its order", async () => {
    await using chat = await connectChat(kind);
    const values = await collect(chat.call.count(word("20000")));
    expect(values.length).toBe(20_000);
    expect(values.every((value, index) => value === String(index))).toBe(true);
  });

  test("an error keeps its reason and message", async () => {
    await using chat = await connectChat(kind);
    const failed = chat.call.echo({ key: "fail", value: "it" });
    await expect(failed).rejects.toThrow("Cannot find it");
    await expect(failed).rejects.toEqual(reason("notFound"));
    await expect(collect(chat.call.count({ key: "fail", value: "2" }))).rejects.toEqual(
      reason("aborted"),
    );
  });

  test("a closed server fails the calls at work and every later one", async () => {
    await using chat = await connectChat(kind);
    const waiting = chat.call.wait(word("a"));
    await chat.chat.until(() => chat.chat.waiting.size === 1);
    chat.server.close();
    await expect(waiting).rejects.toEqual(reason("unavailable"));
    await chat.client.closed;
    await expect(chat.call.echo(word("a"))).rejects.toEqual(reason("unavailable"));
  });

  test("connecting to nobody rejects with what the kernel says", async () => {
    using folder = new ScratchFolder();
    const path = folder.socket("nobody");
    const connecting = kind === "bun" ? connectBun({ unix: path }) : connectNet({ path });
    await expect(connecting).rejects.toEqual(expect.objectContaining({ code: "ENOENT" }));
  });
});

describe("TtrpcClient", () => {
  test("numbers its streams 1, 3, 5 and sends what the call was given", async () => {
    using raw = await connectRaw();
    const metadata = new Map([["k", ["v", "w"]]]);
    const calls = [
      raw.call.echo(word("a"), { metadata, timeoutMs: 60_000 }),
      raw.call.echo(word("b")),
      raw.call.echo(word("c")),
    ];
    const requests = [await raw.peer.read(), await raw.peer.read(), await raw.peer.read()];
    expect(requests.map((frame) => [frame?.streamId, frame?.type, frame?.flags])).toEqual([
      [1, 1, 0],
      [3, 1, 0],
      [5, 1, 0],
    ]);
    const [first, second] = requests.map((frame) => Request.decode(frame?.body ?? NO_BYTES));
    expect(first).toMatchObject({
      service: "test.Chat",
      method: "Echo",
      timeoutNano: 60_000_000_000n,
    });
    expect(first?.metadata).toEqual([
      { key: "k", value: "v" },
      { key: "k", value: "w" },
    ]);
    expect(second).toMatchObject({ timeoutNano: 0n, metadata: [] });
    for (const streamId of [5, 1, 3]) await raw.peer.send(streamId, 2, 0, answer(String(streamId)));
    expect((await Promise.all(calls)).map(({ value }) => value)).toEqual(["1", "3", "5"]);
  });

  test("opens streams with the flags of their kind", async () => {
    using raw = await connectRaw();
    const counting = raw.call.count(word("1"));
    const reading = collect(counting);
    void raw.call.join(words()).catch(() => {});
    const frames = [await raw.peer.read(), await raw.peer.read(), await raw.peer.read()];
    expect(frames.map((frame) => [frame?.streamId, frame?.type, frame?.flags])).toEqual([
      [1, 1, 1],
      [3, 1, 2],
      [3, 3, 5],
    ]);
    await raw.peer.send(1, 3, 1, KeyValue.encode(word("last")).finish());
    expect(await reading).toEqual(["last"]);
  });

  test("a response ends a server stream with one last message", async () => {
    using raw = await connectRaw();
    const reading = collect(raw.call.count(word("1")));
    await raw.peer.read();
    await raw.peer.send(1, 3, 0, NO_BYTES);
    await raw.peer.send(1, 2, 0, answer("last"));
    expect(await reading).toEqual(["", "last"]);
  });

  test("a timeout ends the call here, and a late answer is dropped", async () => {
    using raw = await connectRaw();
    await expect(raw.call.echo(word("a"), { timeoutMs: 10 })).rejects.toEqual(
      reason("deadlineExceeded"),
    );
    await raw.peer.read();
    await raw.peer.send(1, 2, 0, answer("late"));
    const next = raw.call.echo(word("b"));
    await raw.peer.read();
    await raw.peer.send(3, 2, 0, answer("b"));
    expect(await next).toEqual(word("b"));
  });

  test("an abort ends the call here, before it and while it waits", async () => {
    using raw = await connectRaw();
    const controller = new AbortController();
    const waiting = raw.call.wait(word("a"), { signal: controller.signal });
    controller.abort();
    await expect(waiting).rejects.toEqual(reason("canceled"));
    await expect(raw.call.wait(word("a"), { signal: controller.signal })).rejects.toEqual(
      reason("canceled"),
    );
  });

  test("leaving a stream tells the server that nothing more is sent", async () => {
    using raw = await connectRaw();
    async function* endless() {
      yield word("a");
      await new Promise(() => {});
    }
    const talking = raw.call.talk(endless())[Symbol.asyncIterator]();
    const first = talking.next();
    await raw.peer.read();
    await raw.peer.read();
    await raw.peer.send(1, 3, 0, NO_BYTES);
    expect((await first).value).toEqual(word(""));
    await talking.return?.();
    expect(await raw.peer.read()).toMatchObject({ streamId: 1, type: 3, flags: 5 });
  });

  test("requests that fail end the call with what they threw", async () => {
    using raw = await connectRaw();
    async function* broken() {
      yield word("a");
      throw new Error("out of words");
    }
    await expect(raw.call.join(broken())).rejects.toThrow("out of words");
  });

  test("an answer over the limit fails its call alone", async () => {
    using raw = await connectRaw();
    const large = raw.call.echo(word("a"));
    const small = raw.call.echo(word("b"));
    await raw.peer.read();
    await raw.peer.read();
    await raw.peer.send(1, 2, 0, new Uint8Array(BODY_LENGTH_MAX + 1));
    await raw.peer.send(3, 2, 0, answer("b"));
    await expect(large).rejects.toEqual(reason("resourceExhausted"));
    expect(await small).toEqual(word("b"));
  });

  test("a request over the limit is never sent", async () => {
    using raw = await connectRaw();
    const large = raw.call.echo(word("x".repeat(BODY_LENGTH_MAX)));
    await expect(large).rejects.toEqual(reason("resourceExhausted"));
    void raw.call.echo(word("b")).catch(() => {});
    expect((await raw.peer.read())?.streamId).toBe(1);
  });

  test.each([
    { name: "data for a unary call", frame: encodeFrame(1, 3, 0, NO_BYTES) },
    {
      name: "a response that does not decode",
      frame: encodeFrame(1, 2, 0, Uint8Array.of(0x0a, 9)),
    },
    {
      name: "a payload that does not decode",
      frame: encodeFrame(
        1,
        2,
        0,
        Response.encode({ status: undefined, payload: Uint8Array.of(10, 9) }).finish(),
      ),
    },
  ])("$name fails the call as internal", async ({ frame }) => {
    using raw = await connectRaw();
    const call = raw.call.echo(word("a"));
    await raw.peer.read();
    await raw.peer.write(frame);
    await expect(call).rejects.toEqual(reason("internal"));
  });

  test("a stream that nobody reads fails, and other calls go on", async () => {
    using raw = await connectRaw();
    const unread = raw.client.stream({ service: "test.Chat", method: "Count" }, "serverStream");
    const call = raw.call.echo(word("a"));
    await raw.peer.read();
    await raw.peer.read();
    for (let index = 0; index < 1000; index += 1) await raw.peer.send(1, 3, 0, Uint8Array.of(1));
    await raw.peer.send(3, 2, 0, answer("a"));
    expect(await call).toEqual(word("a"));
    let count = 0;
    const reading = async () => {
      for await (const _ of unread) count += 1;
    };
    await expect(reading()).rejects.toEqual(reason("resourceExhausted"));
    expect(count).toBe(64);
  });

  test("calls wait when the server does not read, and all are answered once it does", async () => {
    using raw = await connectRaw();
    raw.peer.pause();
    const value = "x".repeat(100_000);
    const calls = Array.from({ length: 100 }, () => raw.call.echo(word(value)));
    raw.peer.resume();
    for (let index = 0; index < calls.length; index += 1) {
      const frame = await raw.peer.read();
      await raw.peer.send(frame?.streamId ?? 0, 2, 0, answer("ok"));
    }
    const answers = await Promise.all(calls);
    expect(answers.every(({ value: text }) => text === "ok")).toBe(true);
  });

  test("ten thousand calls with timeouts and signals leave nothing behind", async () => {
    await using chat = await connectChat("bun");
    const { signal } = new AbortController();
    const before = readdirSync("/proc/self/fd").length;
    for (let index = 0; index < 10_000; index += 1) {
      await chat.call.echo(word("a"), { timeoutMs: 60_000, signal });
      chat.chat.contexts.length = 0;
    }
    const [connection] = chat.server.connections;
    expect([...(connection?.calls ?? [])]).toEqual([]);
    expect(readdirSync("/proc/self/fd").length).toBe(before);
  });
});
