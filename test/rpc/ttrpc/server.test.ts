import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { ShimError } from "../../../src/base/error.ts";
import { KeyValue } from "../../../src/gen/ttrpc/request.ts";
import { mountService } from "../../../src/rpc/service.ts";
import { connectBun, listenBun } from "../../../src/rpc/ttrpc/bun.ts";
import { BODY_LENGTH_MAX, encodeFrame } from "../../../src/rpc/ttrpc/frame.ts";
import { TtrpcServer } from "../../../src/rpc/ttrpc/server.ts";
import { createStub } from "../../../src/rpc/ttrpc/stub.ts";
import { Chat, ChatDefinition, word } from "./chat-service.ts";
import { RawPeer } from "./raw-peer.ts";
import { ScratchFolder } from "./scratch-folder.ts";

const NO_BYTES = new Uint8Array(0);
const REMOTE_CLOSED = 1;
const REMOTE_OPEN = 2;
const NO_DATA = 4;

const INVALID_ARGUMENT = 3;
const DEADLINE_EXCEEDED = 4;
const NOT_FOUND = 5;
const RESOURCE_EXHAUSTED = 8;
const UNIMPLEMENTED = 12;
const INTERNAL = 13;
const UNAVAILABLE = 14;

class Bench implements AsyncDisposable {
  readonly folder = new ScratchFolder();
  readonly chat = new Chat();
  readonly server = new TtrpcServer({ services: [mountService(ChatDefinition, this.chat)] });
  readonly path = this.folder.socket();

  constructor() {
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

function encode(value: string, key = ""): Uint8Array {
  return KeyValue.encode({ key, value }).finish();
}

function textOf(payload: Uint8Array | undefined): string {
  return KeyValue.decode(payload ?? NO_BYTES).value;
}

/** Proves that the connection lives. */
async function expectEcho(peer: RawPeer, streamId: number): Promise<void> {
  await peer.request(streamId, "Echo", encode("alive"));
  const response = await peer.response();
  expect({ ...response, payload: textOf(response.payload) }).toEqual({
    streamId,
    code: 0,
    message: "",
    payload: "alive",
  });
}

describe("TtrpcServer, unary", () => {
  test("answers a call whose frames come a byte at a time", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    const request = Buffer.from("0a09746573742e43686174120445636" + "86f1a03120168", "hex");
    for (const byte of encodeFrame(1, 1, 0, request)) await peer.write(Uint8Array.of(byte));
    expect(textOf((await peer.response()).payload)).toBe("h");
  });

  test("an empty request is a message, and so is an empty answer", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Echo", NO_BYTES);
    const frame = await peer.read();
    expect(frame).toMatchObject({ streamId: 1, type: 2, flags: 0, length: 0 });
  });

  test("tells the handler metadata, deadline, peer and names", async () => {
    await using bench = new Bench();
    const { client, call } = await bench.stub();
    using _ = client;
    const metadata = new Map([["Containerd-Namespace-ttrpc", ["k8s.io", "b"]]]);
    await call.echo(word("a"), { metadata, timeoutMs: 60_000 });
    const [context] = bench.chat.contexts;
    expect(context?.metadata.get("containerd-namespace-ttrpc")).toEqual(["k8s.io", "b"]);
    expect(context?.deadlineMs).toBeGreaterThan(Date.now() + 30_000);
    expect(context?.peer.pid).toBe(process.pid);
    expect([context?.service, context?.method]).toEqual(["test.Chat", "Echo"]);
    expect(context?.signal.aborted).toBe(false);
  });

  test("answers in the order of completion, not of asking", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    for (const [index, name] of ["a", "b", "c"].entries()) {
      await peer.request(2 * index + 1, "Wait", encode(name));
    }
    await bench.chat.until(() => bench.chat.waiting.size === 3);
    const order: number[] = [];
    for (const name of ["c", "a", "b"]) {
      bench.chat.waiting.get(name)?.();
      order.push((await peer.response()).streamId);
    }
    expect(order).toEqual([5, 1, 3]);
  });

  test("names the calls at work with their requests", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(7, "Wait", encode("a"));
    await bench.chat.until(() => bench.chat.waiting.size === 1);
    const [connection] = bench.server.connections;
    expect(connection?.fd).toBeGreaterThan(2);
    const calls = [...(connection?.calls ?? [])].map(({ streamId, service, method, request }) => ({
      streamId,
      service,
      method,
      payload: textOf(request.payload),
    }));
    expect(calls).toEqual([{ streamId: 7, service: "test.Chat", method: "Wait", payload: "a" }]);
  });

  test("a thrown reason becomes its code, and the connection lives", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Echo", encode("it", "fail"));
    expect(await peer.response()).toMatchObject({ code: NOT_FOUND, message: "Cannot find it" });
    await expectEcho(peer, 3);
  });

  test.each([
    { service: "test.Chat", method: "Nothing" },
    { service: "test.None", method: "Echo" },
    { service: "", method: "" },
  ])("$service/$method is unimplemented, and the connection lives", async ({ service, method }) => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, method, NO_BYTES, { service });
    expect(await peer.response()).toMatchObject({ streamId: 1, code: UNIMPLEMENTED });
    await expectEcho(peer, 3);
  });
});

describe("TtrpcServer, limits", () => {
  test("a request of the longest length is taken and one byte more is refused on its stream", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    const overhead = "test.Chat".length + 2 + "Echo".length + 2 + 5 + 5;
    const longest = encode("x".repeat(BODY_LENGTH_MAX - overhead - 10));
    await peer.request(1, "Echo", longest);
    expect(await peer.response()).toMatchObject({ streamId: 1, code: 0 });
    await peer.send(3, 1, 0, new Uint8Array(BODY_LENGTH_MAX + 1));
    expect(await peer.response()).toMatchObject({ streamId: 3, code: RESOURCE_EXHAUSTED });
    await expectEcho(peer, 5);
  });

  test("data over the limit ends its stream alone", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Join", NO_BYTES, { flags: REMOTE_OPEN });
    await peer.send(1, 3, 0, new Uint8Array(BODY_LENGTH_MAX + 1));
    expect(await peer.response()).toMatchObject({ streamId: 1, code: RESOURCE_EXHAUSTED });
    expect(bench.callCount).toBe(0);
    await expectEcho(peer, 3);
  });

  test("an answer over the limit becomes an error on its stream", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Echo", encode(String(BODY_LENGTH_MAX), "grow"));
    expect(await peer.response()).toMatchObject({ streamId: 1, code: RESOURCE_EXHAUSTED });
    await expectEcho(peer, 3);
  });

  test("calls past the count of one connection are refused on their streams", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    const count = 16 * 1024;
    for (let index = 0; index < count; index += 1) {
      await peer.request(2 * index + 1, "Wait", encode("a"));
    }
    await peer.request(2 * count + 1, "Wait", encode("a"));
    const response = await peer.response();
    expect(response).toMatchObject({ streamId: 2 * count + 1, code: RESOURCE_EXHAUSTED });
  });
});

describe("TtrpcServer, violations", () => {
  test.each([
    { name: "an even stream id", frames: [encodeFrame(2, 1, 0, NO_BYTES)] },
    { name: "stream id 0", frames: [encodeFrame(0, 1, 0, NO_BYTES)] },
    { name: "data on a stream that never was", frames: [encodeFrame(9, 3, 0, NO_BYTES)] },
    {
      name: "a request that does not decode",
      frames: [encodeFrame(9, 1, 0, Uint8Array.of(0x0a, 9))],
    },
  ])("$name is answered InvalidArgument, and the connection lives", async ({ frames }) => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    for (const frame of frames) await peer.write(frame);
    expect((await peer.response()).code).toBe(INVALID_ARGUMENT);
    await expectEcho(peer, 11);
  });

  test.each([5, 3])("stream id %i after 5 is answered InvalidArgument", async (streamId) => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await expectEcho(peer, 5);
    await peer.request(streamId, "Echo", NO_BYTES);
    expect(await peer.response()).toMatchObject({ streamId, code: INVALID_ARGUMENT });
    await expectEcho(peer, 7);
  });

  test("a payload that does not decode is Internal", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Echo", Uint8Array.of(0x0a, 0xff));
    expect(await peer.response()).toMatchObject({ streamId: 1, code: INTERNAL });
    expect(bench.callCount).toBe(0);
  });

  test("data on a unary call cancels it", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Wait", encode("a"));
    await peer.send(1, 3, 0, NO_BYTES);
    expect(await peer.response()).toMatchObject({ streamId: 1, code: INVALID_ARGUMENT });
    expect(bench.chat.canceled).toEqual(["a"]);
  });

  test("frames of a type to come, and responses, are passed over", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.send(1, 2, 0, NO_BYTES);
    await peer.send(1, 77, 0xff, Buffer.from("later"));
    await expectEcho(peer, 1);
  });
});

describe("TtrpcServer, streams", () => {
  test("a server stream is data frames and a closing one without data", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Count", encode("2"), { flags: REMOTE_CLOSED });
    const frames = [await peer.read(), await peer.read(), await peer.read()];
    expect(frames.map((frame) => frame?.flags)).toEqual([0, 0, REMOTE_CLOSED | NO_DATA]);
    expect(frames.map((frame) => frame?.type)).toEqual([3, 3, 3]);
    expect(frames.slice(0, 2).map((frame) => textOf(frame?.body))).toEqual(["0", "1"]);
    expect(bench.callCount).toBe(0);
  });

  test("a server stream that fails ends with a response", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Count", encode("1", "fail"), { flags: REMOTE_CLOSED });
    expect((await peer.read())?.type).toBe(3);
    expect(await peer.response()).toMatchObject({ streamId: 1, code: 10, message: "Cannot go on" });
  });

  test.each([
    {
      name: "a closing frame without data",
      last: encodeFrame(1, 3, REMOTE_CLOSED | NO_DATA, NO_BYTES),
      answer: "a++b",
    },
    {
      name: "a closing frame with data",
      last: encodeFrame(1, 3, REMOTE_CLOSED, encode("c")),
      answer: "a++b+c",
    },
    {
      name: "a closing frame with an empty message",
      last: encodeFrame(1, 3, REMOTE_CLOSED, NO_BYTES),
      answer: "a++b+",
    },
  ])("a client stream ends by $name", async ({ last, answer }) => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Join", encode("a"), { flags: REMOTE_OPEN });
    await peer.send(1, 3, 0, NO_BYTES);
    await peer.send(1, 3, NO_DATA, NO_BYTES);
    await peer.send(1, 3, 0, encode("b"));
    await peer.write(last);
    expect(textOf((await peer.response()).payload)).toBe(answer);
  });

  test("data after the close ends the stream with InvalidArgument", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Talk", NO_BYTES, { flags: REMOTE_OPEN });
    await peer.send(1, 3, 0, encode("", "stall"));
    await bench.chat.until(() => bench.chat.waiting.has("stall"));
    await peer.send(1, 3, REMOTE_CLOSED | NO_DATA, NO_BYTES);
    await peer.send(1, 3, 0, encode("late"));
    expect(await peer.response()).toMatchObject({ streamId: 1, code: INVALID_ARGUMENT });
  });

  test("a bidirectional stream answers while the client is still sending", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Talk", NO_BYTES, { flags: REMOTE_OPEN });
    for (const text of ["a", "b"]) {
      await peer.send(1, 3, 0, encode(text));
      expect(textOf((await peer.read())?.body)).toBe(text.toUpperCase());
    }
    await peer.send(1, 3, REMOTE_CLOSED | NO_DATA, NO_BYTES);
    expect(textOf((await peer.read())?.body)).toBe("BYE");
    expect((await peer.read())?.flags).toBe(REMOTE_CLOSED | NO_DATA);
  });

  test("a request with no flags leaves no stream open", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Join", encode("only"));
    expect(textOf((await peer.response()).payload)).toBe("only");
  });

  test("a stream whose handler does not read is ended, and others go on", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Talk", NO_BYTES, { flags: REMOTE_OPEN });
    await peer.send(1, 3, 0, encode("", "stall"));
    for (let index = 0; index < 64; index += 1) await peer.send(1, 3, 0, encode("x"));
    await peer.request(3, "Echo", encode("other"));
    expect(await peer.response()).toMatchObject({ streamId: 1, code: RESOURCE_EXHAUSTED });
    expect(await peer.response()).toMatchObject({ streamId: 3, code: 0 });
  });

  test("a burst longer than an inbox loses nothing when the handler reads", async () => {
    await using bench = new Bench();
    const { client, call } = await bench.stub();
    using _ = client;
    async function* numbers() {
      for (let index = 0; index < 10_000; index += 1) yield word("1");
    }
    expect((await call.join(numbers())).value.length).toBe(2 * 10_000 - 1);
  });
});

describe("TtrpcServer, time and cancellation", () => {
  test("a deadline cancels the handler and answers DeadlineExceeded", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Wait", encode("a"), { timeoutNano: 20_000_000n });
    expect(await peer.response()).toMatchObject({ streamId: 1, code: DEADLINE_EXCEEDED });
    expect(bench.chat.canceled).toEqual(["a"]);
    expect(bench.callCount).toBe(0);
  });

  test.each([{ timeoutNano: -5n }, { timeoutNano: 1n }])(
    "a deadline of $timeoutNano ns is over at once",
    async ({ timeoutNano }) => {
      await using bench = new Bench();
      using peer = await RawPeer.connect(bench.path);
      await peer.request(1, "Wait", encode("a"), { timeoutNano });
      expect(await peer.response()).toMatchObject({ code: DEADLINE_EXCEEDED });
    },
  );

  test("a deadline of centuries does not fire early", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Wait", encode("a"), { timeoutNano: 2n ** 63n - 1n });
    await expectEcho(peer, 3);
    expect(bench.chat.canceled).toEqual([]);
  });

  test("a client that goes away cancels its own calls and no other's", async () => {
    await using bench = new Bench();
    using staying = await RawPeer.connect(bench.path);
    const leaving = await RawPeer.connect(bench.path);
    await staying.request(1, "Wait", encode("stays"));
    await leaving.request(1, "Wait", encode("leaves"));
    await bench.chat.until(() => bench.chat.waiting.size === 2);
    leaving[Symbol.dispose]();
    await bench.chat.until(() => bench.chat.canceled.length > 0);
    expect(bench.chat.canceled).toEqual(["leaves"]);
    expect(bench.server.connections.size).toBe(1);
    bench.chat.waiting.get("stays")?.();
    expect(textOf((await staying.response()).payload)).toBe("stays");
  });

  test("a client that goes away ends the streams it read", async () => {
    await using bench = new Bench();
    const leaving = await RawPeer.connect(bench.path);
    await leaving.request(1, "Count", encode("1000000000", "x".repeat(1000)));
    await leaving.read();
    leaving[Symbol.dispose]();
    await bench.chat.until(() => bench.chat.countsEnded === 1);
  });

  test("a peer that does not read its stream stops the handler, not the server", async () => {
    await using bench = new Bench();
    using deaf = await RawPeer.connect(bench.path);
    using other = await RawPeer.connect(bench.path);
    deaf.pause();
    await deaf.request(1, "Count", encode("100000", "x".repeat(10_000)));
    await expectEcho(other, 1);
    let before = -1;
    for (let turn = 3; before !== bench.chat.counted; turn += 2) {
      before = bench.chat.counted;
      for (let step = 0; step < 50; step += 1) await expectEcho(other, turn * 100 + 2 * step + 1);
    }
    expect(bench.chat.counted).toBeLessThan(1000);
  });

  test("a peer that asks and does not read is read no further", async () => {
    await using bench = new Bench();
    using deaf = await RawPeer.connect(bench.path);
    using other = await RawPeer.connect(bench.path);
    deaf.pause();
    const count = 5000;
    const sending = (async () => {
      for (let index = 0; index < count; index += 1) {
        await deaf.request(2 * index + 1, "Echo", encode("x".repeat(10_000)));
      }
    })();
    let before = -1;
    for (let turn = 3; before !== bench.chat.contexts.length; turn += 2) {
      before = bench.chat.contexts.length;
      for (let step = 0; step < 50; step += 1)
        await other.request(turn * 100 + 2 * step + 1, "Count", encode("0"));
      for (let step = 0; step < 50; step += 1) await other.read();
    }
    expect(bench.chat.contexts.length).toBeLessThan(400);
    deaf.resume();
    for (let index = 0; index < count; index += 1) {
      expect((await deaf.response()).streamId).toBe(2 * index + 1);
    }
    await sending;
  });
});

describe("TtrpcServer.shutdown()", () => {
  test("takes no new calls, answers those at work, then closes", async () => {
    await using bench = new Bench();
    using busy = await RawPeer.connect(bench.path);
    using idle = await RawPeer.connect(bench.path);
    await busy.request(1, "Wait", encode("a"));
    await expectEcho(idle, 1);
    await bench.chat.until(() => bench.chat.waiting.size === 1);
    const ended = bench.server.shutdown(60_000);
    expect(await idle.read()).toBeUndefined();
    await expect(connectBun({ unix: bench.path })).rejects.toThrow();
    await busy.request(3, "Echo", NO_BYTES);
    expect(await busy.response()).toMatchObject({ streamId: 3, code: UNAVAILABLE });
    bench.chat.waiting.get("a")?.();
    expect(textOf((await busy.response()).payload)).toBe("a");
    expect(await busy.read()).toBeUndefined();
    await ended;
  });

  test("answers Unavailable what is not finished at the deadline", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Wait", encode("a"));
    await bench.chat.until(() => bench.chat.waiting.size === 1);
    const ended = bench.server.shutdown(10);
    expect(await peer.response()).toMatchObject({ streamId: 1, code: UNAVAILABLE });
    expect(await peer.read()).toBeUndefined();
    await ended;
    expect(bench.chat.canceled).toEqual(["a"]);
  });

  test("does not wait for a peer that never reads", async () => {
    await using bench = new Bench();
    using deaf = await RawPeer.connect(bench.path);
    deaf.pause();
    await deaf.request(1, "Count", encode("100000", "x".repeat(10_000)));
    await bench.chat.until(() => bench.chat.countsBegun === 1);
    await bench.server.shutdown(10);
    expect(bench.server.connections.size).toBe(0);
  });

  test("resolves before anything was served, and when called twice", async () => {
    await using bench = new Bench();
    await Promise.all([bench.server.shutdown(1000), bench.server.shutdown(1000)]);
  });

  test("close() cancels at once and answers nobody", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Wait", encode("a"));
    await bench.chat.until(() => bench.chat.waiting.size === 1);
    bench.server.close();
    expect(await peer.read()).toBeUndefined();
    expect(bench.chat.canceled).toEqual(["a"]);
  });
});

describe("listenBun()", () => {
  test("lends the descriptor of a connection, and closes one that is refused", async () => {
    using folder = new ScratchFolder();
    using server = new TtrpcServer({ services: [] });
    const fds: number[] = [];
    listenBun(server, { unix: folder.socket() }, (fd) => {
      fds.push(fd);
      return undefined;
    });
    using peer = await RawPeer.connect(folder.socket());
    expect(await peer.read()).toBeUndefined();
    expect(fds.length).toBe(1);
    expect(fds[0]).toBeGreaterThan(2);
    expect(server.connections.size).toBe(0);
  });
});

describe("a server that has served", () => {
  test("leaves no descriptor, call or connection behind", async () => {
    await using bench = new Bench();
    const before = readdirSync("/proc/self/fd").length;
    for (let round = 0; round < 50; round += 1) {
      const { client, call } = await bench.stub();
      await Promise.all(Array.from({ length: 20 }, () => call.echo(word("a"))));
      const canceled = call.wait(word(String(round))).catch((error: unknown) => error);
      client.close();
      expect(await canceled).toBeInstanceOf(ShimError);
      await bench.chat.until(() => bench.chat.canceled.includes(String(round)));
    }
    expect(bench.server.connections.size).toBe(0);
    expect(readdirSync("/proc/self/fd").length).toBe(before);
  });
});
