import { describe, expect, setSystemTime, test } from "bun:test";
import { readdirSync } from "node:fs";
import { ShimError } from "../../../src/base/error.ts";
import type { KeyValue } from "../../../src/gen/ttrpc/request.ts";
import type { CallContext } from "../../../src/rpc/service.ts";
import { connectBun } from "../../../src/rpc/ttrpc/bun.ts";
import { Chat, word } from "./chat-service.ts";
import { RawPeer } from "./raw-peer.ts";
import {
  Bench,
  DEADLINE_EXCEEDED,
  encode,
  expectEcho,
  NO_BYTES,
  textOf,
  UNAVAILABLE,
} from "./server-bench.ts";

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

  test.each([
    ["forward", 86_400_000],
    ["back", -86_400_000],
  ])("a clock that is set %s moves no deadline", async (_direction, stepMs) => {
    await using bench = new Bench();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Wait", encode("later"), { timeoutNano: 60_000_000_000n });
    await peer.request(3, "Wait", encode("soon"), { timeoutNano: 200_000_000n });
    await expectEcho(peer, 5);
    setSystemTime(new Date(Date.now() + stepMs));
    try {
      expect(await peer.response()).toMatchObject({ streamId: 3, code: DEADLINE_EXCEEDED });
      expect(bench.chat.canceled).toEqual(["soon"]);
    } finally {
      setSystemTime();
    }
  });

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
    expect(bench.chat.counted).toBeLessThan(1_000_000_000);
    expect(bench.callCount).toBe(0);
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
    expect(bench.server.connections.size).toBe(0);
    await expect(bench.stub()).rejects.toThrow();
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

/** Ends its server in each call. */
class EndingChat extends Chat {
  onEcho: () => void = () => {};
  signal: AbortSignal | undefined;
  readonly #isAsync: boolean;

  constructor(isAsync: boolean) {
    super();
    this.#isAsync = isAsync;
  }

  override echo(request: KeyValue, context: CallContext): KeyValue {
    this.signal = context.signal;
    this.onEcho();
    // A handler may do either; that of the class that this extends does not.
    return (this.#isAsync ? Bun.sleep(1).then(() => request) : request) as KeyValue;
  }
}

describe.each([
  ["at once", false],
  ["later", true],
])("TtrpcServer, ended by a handler that answers %s", (_when, isAsync) => {
  test("answers the call that has shut it down", async () => {
    const chat = new EndingChat(isAsync);
    await using bench = new Bench(chat);
    chat.onEcho = () => void bench.server.shutdown(1000);
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Echo", encode("a"));
    expect(textOf((await peer.response()).payload)).toBe("a");
    expect(await peer.read()).toBeUndefined();
  });

  test("cancels the call that has closed it", async () => {
    const chat = new EndingChat(isAsync);
    await using bench = new Bench(chat);
    chat.onEcho = () => bench.server.close();
    using peer = await RawPeer.connect(bench.path);
    await peer.request(1, "Echo", encode("a"));
    expect(await peer.read()).toBeUndefined();
    expect(chat.signal?.aborted).toBe(true);
    expect(bench.callCount).toBe(0);
  });
});
