import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, readlinkSync } from "node:fs";
import { Children } from "../../src/linux/children.ts";
import { CLONE_NEWUSER } from "../../src/linux/copy.ts";
import { descriptorLimit } from "../../src/linux/descriptor-limit.ts";
import { SystemError } from "../../src/linux/errno.ts";
import { openFd, openPipe, readFd } from "../../src/linux/fd.ts";
import { Poller, type Watch } from "../../src/linux/poller.ts";
import { becomeSubreaper } from "../../src/linux/self.ts";

const ENOSPC = 28;
const poller = new Poller();
const children = new Children({ poller, reapStrays: true });
becomeSubreaper();

afterAll(() => {
  children[Symbol.dispose]();
  poller[Symbol.dispose]();
});

function shell(
  script: string,
  stdio: readonly (number | undefined)[] = [undefined, undefined, undefined],
) {
  return children.spawn({ argv: ["/bin/sh", "-c", script], env: ["A=b"], stdio, cwd: "/" });
}

async function read(fd: number): Promise<string> {
  const buffer = new Uint8Array(4096);
  const { promise, resolve } = Promise.withResolvers<string>();
  let text = "";
  using _watch = poller.watch(fd, { readable: true }, () => {
    const count = readFd(fd, buffer);
    if (count === "again") return;
    if (count === 0) resolve(text);
    else text += Buffer.from(buffer.subarray(0, count)).toString();
  });
  return await promise;
}

/** Whether the process has died and nobody has reaped it. */
async function isZombie(pid: number): Promise<boolean> {
  const stat = await Bun.file(`/proc/${pid}/stat`).text();
  return /^\d+ \(.*\) Z /.test(stat);
}

describe("Children.spawn()", () => {
  test.each([
    ["exit 0", 0, 0],
    ["exit 7", 7, 0],
    ["kill -9 $$", 137, 9],
    ["kill -15 $$", 143, 15],
  ])("sh -c '%s' ends with status %d", async (script, status, signal) => {
    const exit = await shell(script).exited;
    expect(exit).toMatchObject({ status, signal });
  });

  test("a missing executable is ENOENT and named in quotes", () => {
    expect(() => children.spawn({ argv: ["/no/such"], env: [], stdio: [] })).toThrow(
      'exec "/no/such": no such file or directory',
    );
  });

  test("the child has the working directory, environment and descriptors that it was given, no others", async () => {
    using pipe = {
      ...openPipe(),
      [Symbol.dispose]() {
        this.reader[Symbol.dispose]();
      },
    };
    const child = shell(
      "pwd; echo $A; ls /proc/self/fd | tr '\\n' ' '; cat /proc/self/status | grep SigIgn",
      [undefined, pipe.writer.fd, pipe.writer.fd],
    );
    pipe.writer[Symbol.dispose]();
    const lines = (await read(pipe.reader.fd)).split("\n");
    await child.exited;
    expect(lines[0]).toBe("/");
    expect(lines[1]).toBe("b");
    expect(lines[2]).toContain("0 1 2 3 ");
    expect(lines[2]).not.toContain("4 ");
    expect(lines[2]).toMatch(/SigIgn:\t0{16}$/);
  });

  test("a signal reaches the child; after its exit it reports false", async () => {
    const child = shell("sleep 60");
    expect(child.signal(9)).toBe(true);
    expect((await child.exited).status).toBe(137);
    expect(child.signal(9)).toBe(false);
  });
});

describe("an exit of which no notice comes", () => {
  test("is told by the pidfd without SIGCHLD", async () => {
    const handlers = process.listeners("SIGCHLD");
    process.removeAllListeners("SIGCHLD");
    using _handlers = {
      [Symbol.dispose]: () => {
        for (const handler of handlers) process.on("SIGCHLD", handler);
      },
    };
    expect((await shell("exit 3").exited).status).toBe(3);
  });

  test("is found by looking without either", async () => {
    class DeafPoller extends Poller {
      override watch(): Watch {
        return { modify: () => {}, [Symbol.dispose]: () => {} };
      }
    }
    using _hold = children.hold(); // Or it would reap this one as a stray.
    using deaf = new DeafPoller();
    using own = new Children({ poller: deaf, reapStrays: false });
    const child = own.spawn({
      argv: ["/bin/sh", "-c", "exit 4"],
      env: [],
      stdio: [undefined, undefined, undefined],
    });
    while (!(await isZombie(child.pid))) await Bun.sleep(1);
    expect(child.exit).toBeUndefined();
    child.look();
    expect(child.exit?.status).toBe(4);
    expect((await child.exited).status).toBe(4);
    child.look();
  });

  test("is told without a pidfd where no descriptor is left for one", async () => {
    const limit = (soft: number) => `prlimit --pid ${process.pid} --nofile=${soft}:`;
    // Once the shortage has begun no process can be started that ends it.
    const relief = shell(`sleep 0.5; ${limit(descriptorLimit())}`);
    await shell(limit(3)).exited;
    // Static, as it inherits the shortage.
    const child = children.spawn({
      argv: ["/bin/busybox", "sleep", "0.2"],
      env: [],
      stdio: [0, 1, 2],
    });
    expect(child.exit).toBeUndefined();
    expect(child.signal(0)).toBe(true);
    expect(await child.exited).toMatchObject({ status: 0, signal: 0 });
    await relief.exited;
  });

  test("looking at one that runs changes nothing", async () => {
    const child = shell("sleep 60");
    child.look();
    expect(child.exit).toBeUndefined();
    child.signal(9);
    expect((await child.exited).status).toBe(137);
  });
});

describe("Children.adopt()", () => {
  test("refuses a process that is not ours to wait for, or is not there", () => {
    using _hold = children.hold();
    expect(() => children.adopt(process.ppid)).toThrow("it is not a child of this process");
    expect(() => children.adopt(4_194_303)).toThrow("it is not a child of this process");
  });

  test("refuses a process that has an owner", async () => {
    const owned = shell("exec sleep 1000");
    expect(() => children.adopt(owned.pid)).toThrow("it is another one's already");
    owned.signal(9);
    expect((await owned.exited).status).toBe(137);
  });

  test("an orphan that died before its pid was known still tells its status", async () => {
    using pipe = {
      ...openPipe(),
      [Symbol.dispose]() {
        this.reader[Symbol.dispose]();
      },
    };
    let orphan: Promise<{ status: number }>;
    {
      using _hold = children.hold();
      // The orphan ends when its parent has: a shell may reap what ends before.
      const parent = shell("(while kill -0 $$ 2>/dev/null; do :; done; exit 42) & echo $!", [
        undefined,
        pipe.writer.fd,
        undefined,
      ]);
      pipe.writer[Symbol.dispose]();
      const pid = Number(await read(pipe.reader.fd));
      await parent.exited;
      while (!(await isZombie(pid))) await Bun.sleep(1);
      orphan = children.adopt(pid).exited;
    }
    expect((await orphan).status).toBe(42);
  });

  test("strays that nobody adopts leave no zombie", async () => {
    using pipe = {
      ...openPipe(),
      [Symbol.dispose]() {
        this.reader[Symbol.dispose]();
      },
    };
    const parent = shell("(exit 1) & echo $!", [undefined, pipe.writer.fd, undefined]);
    pipe.writer[Symbol.dispose]();
    const pid = Number(await read(pipe.reader.fd));
    await parent.exited;
    while (await Bun.file(`/proc/${pid}/stat`).exists()) await Bun.sleep(5);
    expect(await Bun.file(`/proc/${pid}/stat`).exists()).toBe(false);
  });
});

describe("Children.killStray()", () => {
  /** A shell that runs `script`, and the pids that it says first. */
  async function family(script: string) {
    const pipe = openPipe();
    using _reader = pipe.reader;
    const parent = shell(script, [undefined, pipe.writer.fd, undefined]);
    pipe.writer[Symbol.dispose]();
    const [first, second] = (await read(pipe.reader.fd)).trim().split(" ").map(Number);
    return { parent, first: first ?? 0, second: second ?? 0 };
  }
  const isAlive = (pid: number) => existsSync(`/proc/${pid}/status`);
  const gone = async (pid: number) => {
    while (isAlive(pid)) await Bun.sleep(2);
  };

  test("kills what a process of ours has made, which may still be there", async () => {
    const { parent, first } = await family(
      "sleep 1000 >/dev/null & echo $!; exec >/dev/null; wait",
    );
    children.killStray(first);
    expect(await parent.exited).toMatchObject({ status: 0 });
    await gone(first);
  });

  test("leaves alone who is known here, and what a container's process has made", async () => {
    const hold = children.hold();
    const { parent, first, second } = await family(
      "sh -c 'sleep 1000 >/dev/null & echo $$ $!; exec >/dev/null; wait' & exec >/dev/null; wait",
    );
    children.killStray(parent.pid);
    parent.signal(9);
    await parent.exited;
    const orphan = children.adopt(first);
    hold[Symbol.dispose]();
    children.killStray(orphan.pid);
    children.killStray(second);
    await Bun.sleep(20);
    expect([isAlive(orphan.pid), isAlive(second)]).toEqual([true, true]);
    orphan.signal(9);
    expect(await orphan.exited).toMatchObject({ signal: 9 });
    // An orphan now, of nobody that is known.
    children.killStray(second);
    await gone(second);
  });
});

test("a child whose end the kernel does not watch for is found by SIGCHLD", async () => {
  class FullPoller extends Poller {
    override watch(): Watch {
      throw new SystemError("epoll_ctl", ENOSPC);
    }
  }
  // The others of this process would reap it.
  using _hold = children.hold();
  using full = new FullPoller();
  using own = new Children({ poller: full, reapStrays: false });
  const child = own.spawn({ argv: ["/bin/sh", "-c", "exit 3"], env: [], stdio: [] });
  expect(await child.exited).toMatchObject({ status: 3 });
});

describe("Children.copy()", () => {
  test("a refused umount ends with 255, and the copy was no other process than ours", async () => {
    const copy = children.copy({ call: "umount", path: "/proc/self/no-such-mount" });
    expect(copy.pid).not.toBe(process.pid);
    expect(await copy.exited).toMatchObject({ status: 255, signal: 0 });
  });

  test("a copy has an errno of its own", async () => {
    const copies = Array.from({ length: 100 }, () => {
      const copy = children.copy({ call: "umount", path: "/proc/self/status" }); // EINVAL
      expect(() => openFd("/no/such/file", 0)).toThrow("no such file or directory");
      return copy.exited;
    });
    for (const exit of await Promise.all(copies)) expect(exit.status).toBe(255);
  });

  test("what copies run on is given back when they have ended", async () => {
    // proc(5), statm: the size of the address space, in pages.
    const pages = () => Number(readFileSync("/proc/self/statm", "latin1").split(" ")[0]);
    const task = { call: "umount", path: "/proc/self/no-such-mount" } as const;
    const copies = Array.from({ length: 100 }, () => children.copy(task));
    const pagesInUse = pages();
    await Promise.all(copies.map(({ exited }) => exited));
    expect(pagesInUse - pages()).toBeGreaterThan(100 * 64);
  });

  test("a copy can live in a user namespace of its own until it is killed", async () => {
    const copy = children.copy({ call: "sleep", seconds: 60 }, CLONE_NEWUSER);
    const namespaceOf = (pid: number) => readlinkSync(`/proc/${pid}/ns/user`);
    expect(namespaceOf(copy.pid)).not.toBe(namespaceOf(process.pid));
    copy.signal(9);
    expect(await copy.exited).toMatchObject({ status: 137, signal: 9 });
  });
});
