import { describe, expect, test } from "bun:test";
import {
  chownSync,
  closeSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { checksum, flagsOf, Kit } from "./kit.ts";

const MANY_BYTES = 50 * 1024 * 1024;
const O_ACCMODE = 3;
const O_WRONLY = 1;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const SLOW_MS = 60_000;

describe("streams of a process", () => {
  test("no path is no descriptor", async () => {
    await using kit = new Kit();
    const stdio = await kit.open({});
    expect(stdio.childFds).toEqual([undefined, undefined, undefined]);
    await kit.start(stdio, "true");
    await stdio.drained;
  });

  test("the container's ends are blocking, one-way, and ours are close-on-exec", async () => {
    await using kit = new Kit();
    const [stdin, stdout, stderr] = [kit.fifo("in"), kit.fifo("out"), kit.fifo("err")];
    const stdio = await kit.open({ stdin, stdout, stderr });
    const flags = stdio.childFds.map((fd) => flagsOf(fd ?? -1));
    expect(flags.map((value) => value & O_NONBLOCK)).toEqual([0, 0, 0]);
    expect(flags.map((value) => value & O_ACCMODE)).toEqual([0, O_WRONLY, O_WRONLY]);
    for (const { fd } of stdio.descriptors()) expect(flagsOf(fd) & O_CLOEXEC).toBe(O_CLOEXEC);
  });

  test("a process gets its three descriptors and no other", async () => {
    await using kit = new Kit();
    const [stdin, stdout] = [kit.fifo("in"), kit.fifo("out")];
    const stdio = await kit.open({ stdin, stdout, stderr: stdout });
    using reader = kit.reader(stdout);
    const child = kit.run(["/bin/ls", "/proc/self/fd"], stdio.childFds);
    await stdio.attach();
    await child.exited;
    stdio.processExited();
    expect((await kit.readToEnd(reader)).toString()).toBe("0\n1\n2\n3\n"); // 3 is the directory
  });

  test("after attach the shim holds one end of each output, and it is none that delays an end of file", async () => {
    await using kit = new Kit();
    const stdio = await kit.open({ stdout: kit.fifo("out"), stderr: kit.fifo("err") });
    await kit.start(stdio, "sleep 60");
    const held = stdio.descriptors();
    expect(held.map(({ name }) => name)).toEqual(["stdout-holder", "stderr-holder"]);
    expect(held.map(({ fd }) => flagsOf(fd) & O_ACCMODE)).toEqual([0, 0]);
  });

  test.each([["stdin"], ["stdout"], ["stderr"]])(
    "a missing %s is refused and leaves nothing",
    async (stream) => {
      await using kit = new Kit();
      const path = join(kit.dir, "missing");
      await expect(kit.open({ [stream]: path })).rejects.toThrow(
        `No file or FIFO for ${stream}: ${path}`,
      );
    },
  );

  test("an unknown scheme is refused", async () => {
    await using kit = new Kit();
    await expect(kit.open({ stdout: "npipe:///x" })).rejects.toThrow("unknown STDIO scheme npipe");
  });
});

/** Both ways of output: root's FIFO is handed over, anybody else's is relayed. */
describe.each([
  ["hand-over", 0],
  ["relay", 1000],
])("output by %s", (way, uid) => {
  function fifoOf(kit: Kit, name: string): string {
    const path = kit.fifo(name);
    chownSync(path, uid, uid);
    return path;
  }

  test("the way is as said, and only root's FIFO can change its owner", async () => {
    await using kit = new Kit();
    const stdout = fifoOf(kit, "out");
    const stdio = await kit.open({ stdout });
    expect(statSync(`/proc/self/fd/${stdio.childFds[1]}`).ino === statSync(stdout).ino).toBe(
      way === "hand-over",
    );
    // What a runtime does for a container's user.
    const child = await kit.start(stdio, "chown 4321 /proc/self/fd/1");
    await child.exited;
    expect(statSync(stdout).uid).toBe(way === "hand-over" ? 4321 : uid);
  });

  test(
    "50 MB arrive as they were, then the end",
    async () => {
      await using kit = new Kit();
      const stdout = fifoOf(kit, "out");
      const { path, sum } = kit.random(MANY_BYTES);
      const stdio = await kit.open({ stdout });
      const received = kit.output(`sha256sum < ${stdout}`);
      const child = await kit.start(stdio, `cat ${path}`);
      expect(await received).toStartWith(sum);
      await child.exited;
      await stdio.drained;
    },
    SLOW_MS,
  );

  test("the reader has its end of file when the process closes its output, long before it exits", async () => {
    await using kit = new Kit();
    const stdout = fifoOf(kit, "out");
    const stdio = await kit.open({ stdout });
    using reader = kit.reader(stdout);
    const child = await kit.start(stdio, "echo hello; exec >&-; sleep 60");
    expect((await kit.readToEnd(reader)).toString()).toBe("hello\n");
    expect(child.exit).toBeUndefined();
  });

  test("stdout and stderr on one FIFO keep their order", async () => {
    await using kit = new Kit();
    const stdout = fifoOf(kit, "out");
    const stdio = await kit.open({ stdout, stderr: stdout });
    using reader = kit.reader(stdout);
    await kit.start(stdio, "for i in 1 2 3; do echo o$i; echo e$i >&2; done");
    expect((await kit.readToEnd(reader)).toString()).toBe("o1\ne1\no2\ne2\no3\ne3\n");
  });

  test("stderr alone works", async () => {
    await using kit = new Kit();
    const stderr = fifoOf(kit, "err");
    const stdio = await kit.open({ stderr });
    using reader = kit.reader(stderr);
    await kit.start(stdio, "echo out; echo err >&2");
    expect((await kit.readToEnd(reader)).toString()).toBe("err\n");
  });

  test(
    "readers that stop and come again lose no byte, and the writer no signal",
    async () => {
      await using kit = new Kit();
      const stdout = fifoOf(kit, "out");
      const { path, sum } = kit.random(8 * 1024 * 1024);
      const stdio = await kit.open({ stdout });
      const child = await kit.start(stdio, `cat ${path}`);
      const parts: Buffer[] = [];
      for (const bytes of [1, 4096, 100_000, 1_000_000, 12_345]) {
        using reader = kit.reader(stdout);
        parts.push(await kit.read(reader, bytes));
      }
      expect(child.exit).toBeUndefined();
      using last = kit.reader(stdout);
      parts.push(await kit.readToEnd(last));
      expect(checksum(Buffer.concat(parts))).toBe(sum);
      expect((await child.exited).status).toBe(0);
    },
    SLOW_MS,
  );

  test("a reader that comes after the exit opens, gets everything, and its end", async () => {
    await using kit = new Kit();
    const stdout = fifoOf(kit, "out");
    const stdio = await kit.open({ stdout });
    const child = await kit.start(stdio, "head -c 60000 /dev/zero");
    await child.exited;
    await kit.until(() => isOffered(stdio.descriptors()));
    expect(await kit.output(`cat ${stdout} | wc -c`)).toBe("60000\n");
  });

  test("a reader whose open came before anybody could offer is served too", async () => {
    await using kit = new Kit();
    const stdout = fifoOf(kit, "out");
    const stdio = await kit.open({ stdout });
    const child = await kit.start(stdio, "head -c 60000 /dev/zero");
    await child.exited;
    expect(await kit.output(`cat ${stdout} | wc -c`)).toBe("60000\n");
  });

  test("late readers that die leave the rest to the next", async () => {
    await using kit = new Kit();
    const stdout = fifoOf(kit, "out");
    const stdio = await kit.open({ stdout });
    const child = await kit.start(stdio, "seq 10000");
    await child.exited;
    const texts: string[] = [];
    for (const count of [10, 1000, 20_000]) {
      texts.push(await kit.output(`dd bs=1 count=${count} status=none < ${stdout}`));
    }
    texts.push(await kit.output(`cat ${stdout}`));
    expect(texts.join("")).toBe(`${Array.from({ length: 10_000 }, (_, i) => i + 1).join("\n")}\n`);
  });

  test("a reader that comes after everything was read gets its end instead of a hang", async () => {
    await using kit = new Kit();
    const stdout = fifoOf(kit, "out");
    const stdio = await kit.open({ stdout });
    const child = await kit.start(stdio, "echo one; read -t 60");
    {
      using reader = kit.reader(stdout);
      await kit.read(reader, 4);
    }
    child.signal(9);
    await child.exited;
    expect(await kit.output(`cat ${stdout}`)).toBe("");
  });

  test("bytes outlive a reader that dies at the moment of the exit", async () => {
    await using kit = new Kit();
    const stdout = fifoOf(kit, "out");
    const stdio = await kit.open({ stdout });
    const reader = kit.reader(stdout);
    const child = await kit.start(stdio, "seq 1000");
    await child.exited;
    await Bun.sleep(30); // past the first looks: the reader has been seen
    reader[Symbol.dispose]();
    expect((await kit.output(`cat ${stdout}`)).split("\n").length).toBe(1001);
  });

  test("a background child goes on writing after the exit, with no reader, then with one", async () => {
    await using kit = new Kit();
    const stdout = fifoOf(kit, "out");
    const go = kit.fifo("go");
    const stdio = await kit.open({ stdout });
    const child = await kit.start(
      stdio,
      `(read line < ${go}; echo more; seq 3; echo $? > ${kit.dir}/s; mv ${kit.dir}/s ${kit.dir}/status) & echo first`,
    );
    await child.exited;
    {
      using reader = kit.reader(stdout);
      await kit.read(reader, 6);
    }
    kit.shell(`echo > ${go}`); // writes while nobody reads
    await kit.until(() => exists(`${kit.dir}/status`));
    expect(readFileSync(`${kit.dir}/status`, "utf8")).toBe("0\n");
    expect(await kit.output(`cat ${stdout}`)).toBe("more\n1\n2\n3\n");
  });

  test("a process without a reader waits when the FIFO is full, and goes on when one comes", async () => {
    await using kit = new Kit();
    const stdout = fifoOf(kit, "out");
    const stdio = await kit.open({ stdout });
    const child = await kit.start(stdio, "head -c 1000000 /dev/zero");
    await Bun.sleep(50);
    expect(child.exit).toBeUndefined();
    expect(await kit.output(`cat ${stdout} | wc -c`)).toBe("1000000\n");
    expect((await child.exited).status).toBe(0);
  });

  test("/dev/stdout can be opened anew in the process, with truncation", async () => {
    await using kit = new Kit();
    const stdout = fifoOf(kit, "out");
    const stdio = await kit.open({ stdout });
    using reader = kit.reader(stdout);
    await kit.start(stdio, "echo a; echo b > /dev/stdout; echo c >> /dev/stdout; echo d");
    expect((await kit.readToEnd(reader)).toString()).toBe("a\nb\nc\nd\n");
  });

  test("io_uid and io_gid own the container's end", async () => {
    await using kit = new Kit();
    const stdout = fifoOf(kit, "out");
    const stdio = await kit.open({ stdin: kit.fifo("in"), stdout, ioUid: 1234, ioGid: 4321 });
    for (const fd of stdio.childFds.slice(0, 2)) {
      expect(statSync(`/proc/self/fd/${fd}`)).toMatchObject({ uid: 1234, gid: 4321 });
    }
  });

  test("close() before the start lets a waiting reader go", async () => {
    await using kit = new Kit();
    const stdout = fifoOf(kit, "out");
    const reading = kit.output(`exec < ${stdout}; : > ${kit.dir}/open; cat`);
    const stdio = await kit.open({ stdout });
    await kit.until(() => exists(`${kit.dir}/open`));
    await stdio.close();
    await stdio.close();
    await stdio.drained;
    expect(stdio.descriptors()).toEqual([]);
    expect(await reading).toBe("");
  });

  test("an unlinked FIFO serves those who have it open", async () => {
    await using kit = new Kit();
    const stdout = fifoOf(kit, "out");
    const stdio = await kit.open({ stdout });
    using reader = kit.reader(stdout);
    rmSync(stdout);
    const child = await kit.start(stdio, "seq 100");
    await child.exited;
    await Bun.sleep(30); // the holder looks for a reader meanwhile
    expect((await kit.readToEnd(reader)).toString()).toEndWith("99\n100\n");
  });
});

describe("waiting", () => {
  test.each([
    ["a full FIFO, its writer alive", "head -c 1000000 /dev/zero"],
    ["a full FIFO, its writer gone", "head -c 131072 /dev/zero"],
    ["unread bytes after the exit", "echo"],
    ["a silent process that has closed its output", "exec >&-; sleep 60"],
  ])("%s: costs no processor time", async (_title, script) => {
    await using kit = new Kit();
    const [handed, relayed, stdin] = [kit.fifo("handed"), kit.fifo("relayed"), kit.fifo("in")];
    chownSync(relayed, 1000, 1000);
    const stdio = await kit.open({ stdin, stdout: handed, stderr: relayed });
    await kit.start(stdio, `(${script}) & (${script}) >&2; wait`);
    await Bun.sleep(300);
    const before = process.cpuUsage();
    await Bun.sleep(1000);
    const used = process.cpuUsage(before);
    expect(used.user + used.system).toBeLessThan(100_000); // microseconds
  });
});

describe("the end of file of a live reader", () => {
  test("comes with the exit, not with a timer", async () => {
    await using kit = new Kit();
    const delays: number[] = [];
    for (let round = 0; round < 20; round++) {
      const stdout = kit.fifo(`out${round}`);
      const stdio = await kit.open({ stdout });
      const reading = kit.output(
        `python3 -c 'import os,time
fd = os.open("${stdout}", os.O_RDONLY)
last = 0
while True:
    data = os.read(fd, 65536)
    if not data: break
    last = time.monotonic()
print(int((time.monotonic() - last) * 1e6))'`,
      );
      const child = await kit.start(stdio, "head -c 200000 /dev/zero");
      delays.push(Number(await reading));
      await child.exited;
      await stdio.close();
    }
    delays.sort((a, b) => a - b);
    expect(delays[10]).toBeLessThan(5000); // microseconds, on a busy machine
  }, 60_000);
});

describe("output to what is no FIFO", () => {
  test("a file at the path is appended to, and stays its owner's", async () => {
    await using kit = new Kit();
    const stdout = join(kit.dir, "log");
    writeFileSync(stdout, "before\n");
    const stdio = await kit.open({ stdout, stderr: stdout });
    const child = await kit.start(
      stdio,
      "echo a; echo b > /dev/stdout; echo c >&2; chown 4321 /proc/self/fd/1",
    );
    await child.exited;
    await stdio.drained;
    expect(readFileSync(stdout, "utf8")).toBe("before\na\nb\nc\n");
    expect(statSync(stdout).uid).toBe(0);
  });

  test("/dev/null takes everything", async () => {
    await using kit = new Kit();
    const stdio = await kit.open({ stdout: "/dev/null" });
    const child = await kit.start(stdio, "head -c 1000000 /dev/zero");
    expect((await child.exited).status).toBe(0);
    await stdio.drained;
  });

  test("a full disk costs the bytes, not the container", async () => {
    await using kit = new Kit();
    const stdio = await kit.open({ stdout: "/dev/full" });
    const child = await kit.start(stdio, "head -c 1000000 /dev/zero");
    expect((await child.exited).status).toBe(0);
    await stdio.drained;
    expect(kit.warnings).toEqual(["Output is refused and lost", "Output was lost"]);
  });
});

function exists(path: string): boolean {
  try {
    closeSync(openSync(path, "r"));
    return true;
  } catch {
    return false;
  }
}

/** Whether the holder has become a writing end: a reader's open returns. */
function isOffered(descriptors: readonly { readonly fd: number }[]): boolean {
  return descriptors.some(({ fd }) => (flagsOf(fd) & O_ACCMODE) === O_WRONLY);
}
