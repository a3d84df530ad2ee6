import { expect, test } from "bun:test";
import { findEventLoop, isEpoll } from "../../src/linux/event-loop.ts";
import { openPipe, writeFd } from "../../src/linux/fd.ts";
import { waitOnce } from "../../src/linux/poll.ts";
import { Poller } from "../../src/linux/poller.ts";
import { withoutDescriptors } from "./no-descriptors.ts";

const SHORT_MS = 30;

function msOf(run: () => void): number {
  const startedAtMs = performance.now();
  run();
  return performance.now() - startedAtMs;
}

test("the loop of a descriptor is the epoll instance that watches it", async () => {
  using poller = new Poller();
  using reader = openPipe().reader;
  using _watch = poller.watch(reader.fd, { readable: true }, () => {});
  const loop = findEventLoop(reader.fd);
  expect(loop !== undefined && isEpoll(loop)).toBe(true);
  expect(findEventLoop(loop ?? -1)).toBeUndefined();
  expect(isEpoll(1_000_000)).toBe(false);
  await withoutDescriptors(async () => expect(findEventLoop(reader.fd)).toBeUndefined());
});

test("the engine's loop is found by a socket that it listens on, and is ready when that is", async () => {
  using listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const loop = findEventLoop((listener as unknown as { fd: number }).fd) ?? -1;
  expect(isEpoll(loop)).toBe(true);
  const client = Bun.connect({ hostname: "127.0.0.1", port: listener.port, socket: { data() {} } });
  // Blocks the loop: only the kernel knows of the connection by then.
  expect(msOf(() => waitOnce(loop, 10_000))).toBeLessThan(5000);
  (await client).end();
});

test("a wait ends with its time, by what it waits for, or by a signal", async () => {
  const { reader, writer } = openPipe();
  using from = reader;
  using to = writer;
  expect(msOf(() => waitOnce(from.fd, SHORT_MS))).toBeGreaterThanOrEqual(SHORT_MS - 1);
  const onSignal = () => {};
  process.on("SIGUSR2", onSignal);
  const script = `while sleep 0.05; do kill -USR2 ${process.pid}; done`;
  const sender = Bun.spawn(["sh", "-c", script]);
  waitOnce(from.fd, Number.POSITIVE_INFINITY);
  sender.kill("SIGKILL");
  await sender.exited;
  process.off("SIGUSR2", onSignal);
  writeFd(to.fd, Uint8Array.of(1));
  waitOnce(from.fd, Number.POSITIVE_INFINITY);
  // In the past.
  waitOnce(from.fd, -1000);
});
