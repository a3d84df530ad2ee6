import { describe, expect, test } from "bun:test";
import { silentLogger } from "../../../src/base/log.ts";
import { type Session, SharedTransport } from "../../../src/rpc/grpc/shared-transport.ts";
import type { Transport, TransportEvents } from "../../../src/rpc/ttrpc/transport.ts";

/** A transport on which a client says what `say` is given. */
class TalkedTo implements Transport {
  readonly fd = undefined;
  #events: TransportEvents | undefined;

  start(events: TransportEvents): void {
    this.#events = events;
  }

  say(text: string): void {
    this.#events?.onData(Buffer.from(text));
  }

  write(bytes: Uint8Array): number {
    return bytes.length;
  }

  pause(): void {}
  resume(): void {}
  end(): void {}
  destroy(): void {}
}

async function hear(...pieces: readonly string[]) {
  const session: string[] = [];
  const own: string[] = [];
  let received = 0;
  const talkedTo = new TalkedTo();
  const openSession = async (): Promise<Session> => ({
    onData: (chunk) => void session.push(Buffer.from(chunk).toString()),
    onDrain: () => {},
    onClosed: () => {},
    end: () => {},
  });
  const options = { openSession, onReceived: () => received++, log: silentLogger };
  new SharedTransport(talkedTo, options).start({
    onData: (chunk) => void own.push(Buffer.from(chunk).toString()),
    onDrain: () => {},
    onClosed: () => {},
  });
  for (const piece of pieces) {
    talkedTo.say(piece);
    await Bun.sleep(0);
  }
  return { session, own, received };
}

describe("a connection of either protocol", () => {
  test("is the other one's from its first byte on, and each piece of that counts as activity", async () => {
    expect(await hear("PRI *", "one", "two")).toEqual({
      session: ["PRI *", "one", "two"],
      own: [],
      received: 2,
    });
  });

  test("is ttrpc's else, which counts its frames itself", async () => {
    expect(await hear("\0\0\0", "P")).toEqual({ session: [], own: ["\0\0\0", "P"], received: 0 });
  });
});
