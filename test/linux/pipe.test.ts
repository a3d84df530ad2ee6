import { expect, test } from "bun:test";
import { openPipe } from "../../src/linux/fd.ts";
import { hasReader, hasWriter, isReadable } from "../../src/linux/pipe.ts";

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
