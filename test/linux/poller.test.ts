import { expect, spyOn, test } from "bun:test";
import { readdirSync, readlinkSync } from "node:fs";
import { openEventfd, takeEventfd } from "../../src/linux/eventfd.ts";
import { writeFd } from "../../src/linux/fd.ts";
import { Poller } from "../../src/linux/poller.ts";
import { withDescriptorLimit } from "./no-descriptors.ts";

function targetOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return "";
  }
}

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

test("looks again when the kernel has refused to watch, and leaves no descriptor behind", async () => {
  const epolls = () =>
    readdirSync("/proc/self/fd").filter((fd) => targetOf(fd) === "anon_inode:[eventpoll]").length;
  const before = epolls();
  {
    using poller = new Poller();
    using eventfd = openEventfd();
    const told = Promise.withResolvers<number>();
    using connects = spyOn(Bun, "connect");
    connects.mockImplementationOnce(() => Promise.reject(new Error("ENOSPC")));
    using _watch = poller.watch(eventfd.fd, { readable: true }, () => {
      told.resolve(takeEventfd(eventfd.fd));
    });
    writeFd(eventfd.fd, ONE);
    expect(await told.promise).toBe(1);
    expect(connects).toHaveBeenCalled();
  }
  await Bun.sleep(20);
  expect(epolls()).toBe(before);
});

test("looks again by one timer while no descriptor is left, however many are watched", async () => {
  using poller = new Poller();
  using eventfds = new DisposableStack();
  using timers = spyOn(globalThis, "setTimeout");
  const fds = Array.from({ length: 5 }, () => eventfds.use(openEventfd()).fd);
  await withDescriptorLimit(3, async () => {
    for (const fd of fds) eventfds.use(poller.watch(fd, { readable: true }, () => {}));
  });
  expect(timers).toHaveBeenCalledTimes(1);
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

/** Always ready, each call for longer than a turn. */
class SlowOnes implements Disposable {
  readonly calls: number[] = [];
  readonly #owned = new DisposableStack();

  constructor(poller: Poller, count: number) {
    for (let index = 0; index < count; index++) {
      const eventfd = this.#owned.use(openEventfd());
      writeFd(eventfd.fd, ONE);
      const onReady = () => {
        this.calls.push(index);
        Bun.sleepSync(2);
      };
      this.#owned.use(poller.watch(eventfd.fd, { readable: true }, onReady));
    }
  }

  /** The calls within each of some turns of the event loop. */
  async turns(count: number): Promise<number[][]> {
    const turns: number[][] = [];
    for (let turn = 0; turn < count; turn++) {
      this.calls.length = 0;
      await new Promise((resolve) => setImmediate(resolve));
      turns.push([...this.calls]);
    }
    return turns;
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

test("leaves them their turn after each call that takes long, and passes over nobody", async () => {
  using poller = new Poller();
  using slow = new SlowOnes(poller, 5);
  const turns = await slow.turns(30);
  // One before that turn of theirs and one after it, at most.
  expect(Math.max(...turns.map((calls) => calls.length))).toBeLessThan(3);
  for (let index = 0; index < 5; index++) {
    expect(turns.flat().filter((each) => each === index).length).toBeGreaterThan(3);
  }
});

test("serves as much in a turn however many watches came and went between turns", async () => {
  using poller = new Poller();
  using slow = new SlowOnes(poller, 1);
  using other = openEventfd();
  await slow.turns(3);
  for (let round = 0; round < 20; round++) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    poller.watch(other.fd, { readable: true }, () => {})[Symbol.dispose]();
  }
  const turns = await slow.turns(10);
  expect(Math.max(...turns.map((calls) => calls.length))).toBeLessThan(3);
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

test("tells each of those who watch one descriptor what it has asked for", async () => {
  using poller = new Poller();
  using eventfd = openEventfd();
  const told: string[] = [];
  const reader = poller.watch(eventfd.fd, {}, ({ readable, writable }) => {
    told.push(`reader ${readable} ${writable}`);
    reader.modify({});
  });
  const writer = poller.watch(eventfd.fd, {}, ({ readable, writable }) => {
    told.push(`writer ${readable} ${writable}`);
    writer.modify({});
  });
  writeFd(eventfd.fd, ONE);
  reader.modify({ readable: true });
  await Bun.sleep(5);
  expect(told.splice(0)).toEqual(["reader true false"]);
  expect(poller.watched()).toEqual([{ fd: eventfd.fd, events: 0 }]);
  writer.modify({ writable: true });
  reader.modify({ readable: true });
  await Bun.sleep(5);
  expect(told.splice(0).sort()).toEqual(["reader true false", "writer false true"]);
  reader[Symbol.dispose]();
  writer.modify({ writable: true });
  await Bun.sleep(5);
  expect(told.splice(0)).toEqual(["writer false true"]);
  writer[Symbol.dispose]();
  expect(poller.watched()).toEqual([]);
});

test("tells a watcher nothing that another has disposed of in the same call", async () => {
  using poller = new Poller();
  using eventfd = openEventfd();
  let calls = 0;
  const watches = [0, 1].map(() =>
    poller.watch(eventfd.fd, { writable: true }, () => {
      calls++;
      for (const watch of watches) watch[Symbol.dispose]();
    }),
  );
  await Bun.sleep(5);
  expect(calls).toBe(1);
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
