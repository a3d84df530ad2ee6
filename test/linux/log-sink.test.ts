import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  hasFlags,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
  openFd,
  openPipe,
  readFd,
} from "../../src/linux/fd.ts";
import { LogSink } from "../../src/linux/log-sink.ts";

const lostLine = (count: number) => `lost ${count}`;

/** A FIFO with a reader that reads only when asked to. */
class Fifo implements Disposable {
  readonly #directory = mkdtempSync(join(tmpdir(), "wedge-"));
  readonly path = join(this.#directory, "log");
  readonly #reader;

  constructor() {
    if (!Bun.spawnSync(["mkfifo", this.path]).success) throw new Error("mkfifo failed");
    this.#reader = openFd(this.path, O_RDONLY | O_NONBLOCK);
  }

  /** All that is in it now. */
  read(): string {
    const chunks: Buffer[] = [];
    for (;;) {
      const buffer = Buffer.alloc(65536);
      const count = readFd(this.#reader.fd, buffer);
      if (count === "again" || count === 0) return Buffer.concat(chunks).toString();
      chunks.push(buffer.subarray(0, count));
    }
  }

  closeReader(): void {
    this.#reader[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.closeReader();
    rmSync(this.#directory, { recursive: true });
  }
}

describe("LogSink", () => {
  test("each line ends in one newline", () => {
    using fifo = new Fifo();
    using fd = openFd(fifo.path, O_RDWR | O_NONBLOCK);
    using sink = LogSink.open(fd.fd, lostLine);
    sink.write("one");
    sink.write("two\n");
    expect(fifo.read()).toBe("one\ntwo\n");
  });

  test("a full FIFO drops whole lines, counts them, and tells once there is room", () => {
    using fifo = new Fifo();
    using fd = openFd(fifo.path, O_RDWR | O_NONBLOCK);
    using sink = LogSink.open(fd.fd, lostLine);
    const line = "x".repeat(1000);
    const total = 200;
    for (let index = 0; index < total; index++) sink.write(line);
    const { lost } = sink;
    expect(lost).toBeGreaterThan(0);
    const kept = fifo.read().split("\n").slice(0, -1);
    expect(kept).toHaveLength(total - lost);
    expect(kept.every((text) => text === line)).toBe(true);
    sink.write("after");
    expect(fifo.read()).toBe(`lost ${lost}\nafter\n`);
    expect(sink.lost).toBe(0);
  });

  test("a line longer than a FIFO takes at once is cut", () => {
    using fifo = new Fifo();
    using fd = openFd(fifo.path, O_RDWR | O_NONBLOCK);
    using sink = LogSink.open(fd.fd, lostLine);
    sink.write("y".repeat(100_000));
    const text = fifo.read();
    expect(text).toHaveLength(4096);
    expect(text).toEndWith("y...\n");
  });

  test("a blocking descriptor is not used, and its flags stay", () => {
    using fifo = new Fifo();
    using fd = openFd(fifo.path, O_RDWR);
    using sink = LogSink.open(fd.fd, lostLine);
    for (let index = 0; index < 100; index++) sink.write("z".repeat(2000));
    expect(sink.lost).toBeGreaterThan(0);
    expect(hasFlags(fd.fd, O_NONBLOCK)).toBe(false);
  });

  test("a reader that goes away breaks nothing and loses nothing", () => {
    using fifo = new Fifo();
    using fd = openFd(fifo.path, O_RDWR | O_NONBLOCK);
    using sink = LogSink.open(fd.fd, lostLine);
    fifo.closeReader();
    sink.write("while containerd restarts");
    expect(sink.lost).toBe(0);
    using next = openFd(fifo.path, O_RDONLY | O_NONBLOCK);
    const buffer = Buffer.alloc(100);
    expect(readFd(next.fd, buffer)).toBe(26);
  });

  test("a pipe that nobody reads any more, and a descriptor that is closed, are survived", () => {
    const { reader, writer } = openPipe(O_NONBLOCK);
    using sink = LogSink.open(1_000_000, lostLine);
    sink.write("nowhere");
    expect(sink.lost).toBe(1);
    using pipeSink = LogSink.open(writer.fd, lostLine);
    reader[Symbol.dispose]();
    pipeSink.write("kept by our own reader");
    expect(pipeSink.lost).toBe(0);
    writer[Symbol.dispose]();
  });
});
