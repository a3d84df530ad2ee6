import { expect, test } from "bun:test";
import { openPipe, readFd, setNonBlocking, writeFd } from "../../src/linux/fd.ts";
import { growPipe, hasReader, hasWriter, isReadable } from "../../src/linux/pipe.ts";

/** Hundreds of them come within the call. */
const SIGNALS = 2000;

test("a pipe is asked about while signals come", async () => {
  const pipe = openPipe();
  using reader = pipe.reader;
  using writer = pipe.writer;
  let signals = 0;
  let wrong = 0;
  const onSignal = () => {
    signals++;
  };
  process.on("SIGUSR2", onSignal);
  const script = `while kill -USR2 ${process.pid}; do :; done 2>/dev/null`;
  const sender = Bun.spawn(["sh", "-c", script]);
  try {
    while (signals < SIGNALS) {
      for (let round = 0; round < 100; round++) {
        if (isReadable(reader.fd)) wrong++;
        if (!hasWriter(reader.fd) || !hasReader(writer.fd)) wrong++;
      }
      await Bun.sleep(0);
    }
  } finally {
    sender.kill("SIGKILL");
    await sender.exited;
    process.off("SIGUSR2", onSignal);
  }
  expect(wrong).toBe(0);
});

test("a pipe that was made greater by somebody else is not made smaller", () => {
  const { reader, writer } = openPipe();
  using _reader = reader;
  using _writer = writer;
  const capacityIs = (bytes: number) => {
    let taken = 0;
    for (;;) {
      const count = writeFd(writer.fd, new Uint8Array(4096));
      if (count === "again") break;
      taken += count;
    }
    expect(taken).toBe(bytes);
    while (taken > 0) taken -= Number(readFd(reader.fd, new Uint8Array(65536)));
  };
  for (const fd of [reader.fd, writer.fd]) setNonBlocking(fd, true);
  capacityIs(64 * 1024);
  expect(growPipe(reader.fd, 256 * 1024)).toBe(true);
  capacityIs(256 * 1024);
  expect(growPipe(reader.fd, 128 * 1024)).toBe(true);
  capacityIs(256 * 1024);
});
