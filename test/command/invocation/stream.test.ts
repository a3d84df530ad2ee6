import { describe, expect, test } from "bun:test";
import { mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readInput, writeOutput } from "../../../src/command/invocation/stream.ts";
import { OwnedFd, openPipe, readFd, setNonBlocking } from "../../../src/linux/fd.ts";
import { openSlave } from "../../../src/linux/pty.ts";
import { openPty } from "../../linux/pseudo-terminal.ts";

describe("readInput()", () => {
  test("a pipe is read to its end, a byte at a time or at once", () => {
    const { reader, writer } = openPipe();
    using _reader = reader;
    for (const byte of Buffer.from("options")) writeOutput(writer.fd, Uint8Array.of(byte));
    writer[Symbol.dispose]();
    expect(Buffer.from(readInput(reader.fd)).toString()).toBe("options");
  });

  test("/dev/null is empty", () => {
    using fd = new OwnedFd(openSync("/dev/null", "r"));
    expect(readInput(fd.fd)).toHaveLength(0);
  });

  test("a regular file is read", () => {
    using fd = new OwnedFd(openSync(import.meta.path, "r"));
    expect(readInput(fd.fd).length).toBeGreaterThan(500);
  });

  test("a terminal is not waited for", () => {
    using master = openPty();
    using terminal = openSlave(master.fd);
    expect(readInput(terminal.fd)).toHaveLength(0);
  });

  test("a closed descriptor is empty", () => {
    expect(readInput(1_000_000)).toHaveLength(0);
  });

  test("a pipe that nobody closes is given up", () => {
    const { reader, writer } = openPipe();
    using _reader = reader;
    using _writer = writer;
    writeOutput(writer.fd, "half");
    expect(() => readInput(reader.fd, 30)).toThrow("Cannot read stdin: no end after 30 ms");
  });

  test("more than 10 MiB are refused", async () => {
    await using file = new AsyncDisposableStack();
    const directory = mkdtempSync(join(tmpdir(), "wedge-"));
    file.defer(() => rmSync(directory, { recursive: true }));
    const path = join(directory, "input");
    await Bun.write(path, new Uint8Array(10 * 1024 * 1024 + 1));
    using fd = new OwnedFd(openSync(path, "r"));
    expect(() => readInput(fd.fd)).toThrow("more than 10485760 bytes");
  });
});

describe("writeOutput()", () => {
  test("a full pipe without a reader fails, and does not hang", () => {
    const { reader, writer } = openPipe();
    using _writer = writer;
    setNonBlocking(writer.fd, true);
    const buffer = new Uint8Array(4096);
    writeOutput(writer.fd, "answer");
    expect(readFd(reader.fd, buffer)).toBe(6);
    reader[Symbol.dispose]();
    expect(() => writeOutput(writer.fd, "answer")).toThrow("EPIPE");
  });
});
