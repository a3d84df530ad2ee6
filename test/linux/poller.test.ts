import { expect, test } from "bun:test";
import { openEventfd, takeEventfd } from "../../src/linux/eventfd.ts";
import { writeFd } from "../../src/linux/fd.ts";
import { Poller } from "../../src/linux/poller.ts";
import { withDescriptorLimit } from "./no-descriptors.ts";

const ONE = new Uint8Array(new BigUint64Array([1n]).buffer);

test.each([3, 4])("tells what happens while %d descriptors are allowed", async (limit) => {
  using poller = new Poller();
  using eventfd = openEventfd();
  let waiter = Promise.withResolvers<number>();
  using _watch = poller.watch(eventfd.fd, { readable: true }, () => {
    waiter.resolve(takeEventfd(eventfd.fd));
  });
  const tell = async () => {
    waiter = Promise.withResolvers();
    writeFd(eventfd.fd, ONE);
    return await waiter.promise;
  };
  await withDescriptorLimit(limit, async () => {
    for (let round = 0; round < 3; round++) expect(await tell()).toBe(1);
  });
  expect(await tell()).toBe(1);
});

test("leaves timers and sockets their turn while a descriptor is always ready", async () => {
  using poller = new Poller();
  using eventfd = openEventfd();
  let calls = 0;
  writeFd(eventfd.fd, ONE);
  // Never taken.
  using _watch = poller.watch(eventfd.fd, { readable: true }, () => {
    calls++;
  });
  using server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: (socket, bytes) => void socket.write(bytes) },
  });
  const answered = Promise.withResolvers<string>();
  const client = await Bun.connect({
    hostname: "127.0.0.1",
    port: server.port,
    socket: { data: (_, bytes) => answered.resolve(bytes.toString()) },
  });
  client.write("x");
  expect(await answered.promise).toBe("x");
  await Bun.sleep(1);
  client.end();
  expect(calls).toBeGreaterThan(1);
});

test("leaves them their turn after each of the calls that take long", async () => {
  using poller = new Poller();
  using eventfd = openEventfd();
  let callsInTurn = 0;
  let most = 0;
  writeFd(eventfd.fd, ONE);
  using _watch = poller.watch(eventfd.fd, { readable: true }, () => {
    most = Math.max(most, ++callsInTurn);
    Bun.sleepSync(3);
  });
  for (let turn = 0; turn < 10; turn++) {
    callsInTurn = 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
  // One before that turn of theirs and one after it, or so.
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThan(4);
});

test("tells each of many events that follow each other closely", async () => {
  using poller = new Poller();
  using there = openEventfd();
  using back = openEventfd();
  let rounds = 0;
  const done = Promise.withResolvers<void>();
  using _first = poller.watch(there.fd, { readable: true }, () => {
    takeEventfd(there.fd);
    // After the handlers have run, and also once nobody waits awake any more.
    setTimeout(() => writeFd(back.fd, ONE), rounds % 3);
  });
  using _second = poller.watch(back.fd, { readable: true }, () => {
    takeEventfd(back.fd);
    rounds++;
    if (rounds === 100) done.resolve();
    else writeFd(there.fd, ONE);
  });
  writeFd(there.fd, ONE);
  await done.promise;
  expect(rounds).toBe(100);
  expect(poller.wakeups).toBe(200);
});

test("may be disposed of by a handler while it waits awake", async () => {
  const poller = new Poller();
  using eventfd = openEventfd();
  let calls = 0;
  poller.watch(eventfd.fd, { readable: true }, () => {
    takeEventfd(eventfd.fd);
    calls++;
    if (calls < 3) writeFd(eventfd.fd, ONE);
    else queueMicrotask(() => poller[Symbol.dispose]());
  });
  writeFd(eventfd.fd, ONE);
  await Bun.sleep(20);
  writeFd(eventfd.fd, ONE);
  await Bun.sleep(20);
  expect(calls).toBe(3);
});
