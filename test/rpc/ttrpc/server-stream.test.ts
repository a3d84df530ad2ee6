import { describe, expect, test } from "bun:test";
import { encodeFrame } from "../../../src/rpc/ttrpc/frame.ts";
import { word } from "./chat-service.ts";
import { RawPeer } from "./raw-peer.ts";
import {
  Bench,
  encode,
  INVALID_ARGUMENT,
  NO_BYTES,
  NO_DATA,
  REMOTE_CLOSED,
  REMOTE_OPEN,
  RESOURCE_EXHAUSTED,
  textOf,
} from "./server-bench.ts";

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
