import { describe, expect, test } from "bun:test";
import { BODY_LENGTH_MAX, encodeFrame } from "../../../src/rpc/ttrpc/frame.ts";
import { word } from "./chat-service.ts";
import { RawPeer } from "./raw-peer.ts";
import {
  Bench,
  encode,
  expectEcho,
  INTERNAL,
  INVALID_ARGUMENT,
  NO_BYTES,
  NOT_FOUND,
  REMOTE_OPEN,
  RESOURCE_EXHAUSTED,
  textOf,
  UNIMPLEMENTED,
} from "./server-bench.ts";

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
    expect(context?.deadlineMs).toBeGreaterThan(performance.now() + 30_000);
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

  test("knows what it has in hand: frames that are not whole, requests at work", async () => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Echo", encode("a"));
    await peer.response();
    expect(bench.server.bytesInHand).toBe(0);
    await peer.request(3, "Wait", encode("a"));
    await bench.chat.until(() => bench.chat.waiting.size === 1);
    expect(bench.server.bytesInHand).toBe(encode("a").length);
    bench.chat.waiting.get("a")?.();
    await peer.response();
    expect(bench.server.bytesInHand).toBe(0);
    const large = encodeFrame(5, 1, 0, new Uint8Array(100_000)).subarray(0, -1);
    await peer.write(large);
    // Of a header that has been read nothing is kept but what it says.
    const inHand = large.length - 10;
    while (bench.server.bytesInHand < inHand) await Bun.sleep(1);
    expect(bench.server.bytesInHand).toBe(inHand);
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
    expect(await peer.response()).toMatchObject({
      code: NOT_FOUND,
      message: "Cannot find it: not found",
    });
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
