/** Relays in isolation, at the boundaries of a chunk and of a turn. */

import { describe, expect, test } from "bun:test";
import { openPipe, setNonBlocking, writeFd } from "../../src/linux/fd.ts";
import { Poller } from "../../src/linux/poller.ts";
import { openSlave } from "../../src/linux/pty.ts";
import { Relay, type RelayOptions } from "../../src/stdio/relay.ts";
import { openPty } from "../linux/pseudo-terminal.ts";

/** Longer than a relay's turn. */
const LONG_MS = 4;
const QUIET_MS = 50;

/** A relay that collects what it takes. */
function collect(poller: Poller, source: number, options: Partial<RelayOptions> = {}) {
  const chunks: Buffer[] = [];
  const ended = Promise.withResolvers<string>();
  const relay = new Relay({
    poller,
    source,
    sink: undefined,
    take: (bytes) => void chunks.push(Buffer.from(bytes)),
    onEnd: ({ kind }) => ended.resolve(kind),
    ...options,
  });
  return { relay, ended: ended.promise, text: () => Buffer.concat(chunks) };
}

function nonBlockingPipe() {
  const pipe = openPipe();
  for (const { fd } of [pipe.reader, pipe.writer]) setNonBlocking(fd, true);
  return pipe;
}

/** Bytes that tell their place. */
function pattern(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, index) => (index * 7 + (index >> 8)) & 0xff));
}

describe("a relay whose source is to end when it is dry, while somebody may still write to it,", () => {
  test("ends though its turn is over when it finds out", async () => {
    using poller = new Poller();
    using master = openPty();
    using slave = openSlave(master.fd);
    setNonBlocking(master.fd, true);
    writeFd(slave.fd, Buffer.from("hello"));
    const beforeNextRead = () => Bun.sleepSync(LONG_MS);
    const { relay, ended, text } = collect(poller, master.fd, { beforeNextRead });
    relay.endWhenDry();
    expect(await ended).toBe("sourceEnded");
    expect(text().toString()).toBe("hello");
  });

  test("ends though its turn is over after a chunk that was all", async () => {
    using poller = new Poller();
    const { reader, writer } = nonBlockingPipe();
    using _reader = reader;
    using _writer = writer;
    const bytes = pattern(64 * 1024);
    expect(writeFd(writer.fd, bytes)).toBe(bytes.length);
    const taken: Buffer[] = [];
    const { relay, ended } = collect(poller, reader.fd, {
      take: (chunk) => {
        taken.push(Buffer.from(chunk));
        Bun.sleepSync(LONG_MS);
      },
    });
    relay.endWhenDry();
    expect(await ended).toBe("sourceEnded");
    expect(Buffer.concat(taken).equals(bytes)).toBe(true);
  });
});

test("a relay that is paused when its turn is over leaves the poller alone", async () => {
  using poller = new Poller();
  using master = openPty();
  setNonBlocking(master.fd, true);
  openSlave(master.fd)[Symbol.dispose]();
  let errors = 0;
  const { relay } = collect(poller, master.fd, {
    onSourceError: () => {
      errors++;
      Bun.sleepSync(LONG_MS);
      return "pause";
    },
  });
  relay.start();
  const before = poller.wakeups;
  await Bun.sleep(QUIET_MS);
  expect(errors).toBe(1);
  expect(poller.wakeups - before).toBeLessThan(3);
  relay[Symbol.dispose]();
});

describe.each([[1], [4094], [4095], [4096], [8191], [61_440], [65_535], [65_536]])(
  "%d bytes",
  (length) => {
    test("and the end that comes with them are taken", async () => {
      using poller = new Poller();
      const { reader, writer } = nonBlockingPipe();
      using _reader = reader;
      const bytes = pattern(length);
      expect(writeFd(writer.fd, bytes)).toBe(length);
      writer[Symbol.dispose]();
      const { relay, ended, text } = collect(poller, reader.fd);
      relay.start();
      expect(await ended).toBe("sourceEnded");
      expect(text().equals(bytes)).toBe(true);
    });

    test("and as many again are moved from pipe to pipe", async () => {
      using poller = new Poller();
      const from = nonBlockingPipe();
      const to = nonBlockingPipe();
      const bytes = pattern(length);
      const moved = new Relay({
        poller,
        source: from.reader.fd,
        sink: to.writer.fd,
        arePipes: true,
        onEnd: () => to.writer[Symbol.dispose](),
      });
      const { relay, ended, text } = collect(poller, to.reader.fd);
      moved.start();
      relay.start();
      for (let round = 0; round < 2; round++) {
        expect(writeFd(from.writer.fd, bytes)).toBe(length);
        while (text().length < (round + 1) * length) await Bun.sleep(1);
      }
      from.writer[Symbol.dispose]();
      expect(await ended).toBe("sourceEnded");
      expect(text().equals(Buffer.concat([bytes, bytes]))).toBe(true);
      for (const { reader, writer } of [from, to]) {
        reader[Symbol.dispose]();
        writer[Symbol.dispose]();
      }
    });
  },
);
