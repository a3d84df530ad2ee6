import { describe, expect, test } from "bun:test";
import { chmodSync, existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Child } from "../../src/linux/children.ts";
import { windowSize } from "../../src/linux/pty.ts";
import type { ProcessStdio } from "../../src/stdio/opened-stdio.ts";
import { withoutDescriptors } from "../linux/no-descriptors.ts";
import { openPty, slavePath } from "../linux/pseudo-terminal.ts";
import { checksum, Kit } from "./kit.ts";

const SLOW_MS = 60_000;
/** Sends descriptor 3 over the unix socket named in argv, as a runtime does with a pty master. */
const SEND_MASTER = `
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
socket.send_fds(s, [b"/dev/ptmx"], [3])
`;

/**
 * Does what a runtime does: makes a pty, starts the process on its slave as the leader of a session,
 * and sends the master over the console socket.
 */
async function start(kit: Kit, stdio: ProcessStdio, script: string): Promise<Child> {
  using master = openPty();
  // A session leader without a terminal gets the first that it opens.
  const open = `exec <>${slavePath(master.fd)} >&0 2>&0;`;
  const ready = kit.fifo(`ready${Math.random()}`);
  const child = kit.run(["/bin/bash", "-c", `${open} echo > ${ready}; ${script}`], [], "session");
  using reader = kit.reader(ready);
  await kit.read(reader, 1); // the slave is open: without any, the master fails
  await send(kit, stdio, master.fd);
  await stdio.attach();
  // Ends with the child, which the kit kills.
  void child.exited.then(() => stdio.processExited());
  return child;
}

async function send(kit: Kit, stdio: ProcessStdio, fd: number): Promise<void> {
  const argv = ["/usr/bin/env", "python3", "-c", SEND_MASTER, stdio.consoleSocket ?? ""];
  const sender = kit.run(argv, [undefined, undefined, 2, fd]);
  expect((await sender.exited).status).toBe(0);
}

/** Turns off what a terminal does to output and input, before the test's own script. */
const RAW = "stty raw -echo;";

describe("the console socket", () => {
  test("is short, private, and gone after the terminal has come", async () => {
    await using kit = new Kit();
    const stdio = await kit.open({ terminal: true });
    const path = stdio.consoleSocket ?? "";
    expect(path.length).toBeLessThan(107);
    expect(statSync(path).isSocket()).toBe(true);
    expect(statSync(dirname(path)).mode & 0o777).toBe(0o700);
    await start(kit, stdio, "true");
    expect(existsSync(dirname(path))).toBe(false);
  });

  test("leaves one descriptor of the terminal, for both directions", async () => {
    await using kit = new Kit();
    const [stdin, stdout] = [kit.fifo("in"), kit.fifo("out")];
    const stdio = await kit.open({ terminal: true, stdin, stdout });
    await start(kit, stdio, "sleep 60");
    const names = stdio.descriptors().map(({ name }) => name);
    expect(names.filter((name) => name.startsWith("pty"))).toEqual(["pty-master", "pty-slave"]);
  });

  test("is gone after close() where no descriptor is left, and the client is let go", async () => {
    await using kit = new Kit();
    const stdio = await kit.open({
      terminal: true,
      stdin: kit.fifo("in"),
      stdout: kit.fifo("out"),
    });
    const directory = dirname(stdio.consoleSocket ?? "");
    await withoutDescriptors(() => stdio.close());
    expect(stdio.descriptors()).toEqual([]);
    expect(existsSync(directory)).toBe(false);
  });

  test("is gone after close() without a terminal", async () => {
    await using kit = new Kit();
    const stdio = await kit.open({ terminal: true, stdout: kit.fifo("out") });
    const path = stdio.consoleSocket ?? "";
    await stdio.close();
    await stdio.drained;
    expect(existsSync(dirname(path))).toBe(false);
  });

  test("lies in the runtime directory, and in /tmp when that is too long, relative or not there", async () => {
    await using kit = new Kit();
    const inside = await kit.open({ terminal: true }, { runtimeDir: kit.dir });
    expect(inside.consoleSocket).toStartWith(`${kit.dir}/`);
    for (const runtimeDir of [`/tmp/${"x".repeat(100)}`, "/no/such/directory", ".", ""]) {
      const stdio = await kit.open({ terminal: true }, { runtimeDir });
      expect(stdio.consoleSocket).toMatch(/^\/tmp\/wedge-pty-\w+\/s$/);
    }
  });

  test("a runtime that sends nothing is an error within the limit", async () => {
    await using kit = new Kit();
    const stdio = await kit.open({ terminal: true }, { consoleLimitMs: 50 });
    await expect(stdio.attach()).rejects.toThrow(
      "The runtime sent no terminal over the console socket: waited 50 ms",
    );
  });

  test("a runtime that sends something else than a terminal is an error", async () => {
    await using kit = new Kit();
    const stdio = await kit.open({ terminal: true });
    const file = kit.reader("/dev/null");
    await send(kit, stdio, file.fd);
    file[Symbol.dispose]();
    await expect(stdio.attach()).rejects.toThrow("The runtime sent something else than a terminal");
  });

  test("close() ends an attach() that waits", async () => {
    await using kit = new Kit();
    const stdio = await kit.open({ terminal: true });
    const attaching = stdio.attach();
    await stdio.close();
    await expect(attaching).rejects.toThrow("The console socket was closed");
  });

  test("a missing FIFO is refused and leaves no socket", async () => {
    await using kit = new Kit();
    const before = consoleDirectories();
    await expect(kit.open({ terminal: true, stdout: join(kit.dir, "missing") })).rejects.toThrow(
      "No file or FIFO for stdout",
    );
    expect(consoleDirectories()).toEqual(before);
  });
});

describe("a terminal", () => {
  test("echoes what is typed, and takes Ctrl-C", async () => {
    await using kit = new Kit();
    const [stdin, stdout] = [kit.fifo("in"), kit.fifo("out")];
    const stdio = await kit.open({ terminal: true, stdin, stdout });
    using reader = kit.reader(stdout);
    const child = await start(kit, stdio, "read line; echo got $line; exec sleep 60");
    await kit.shell(`echo hello > ${stdin}`).exited;
    expect((await kit.read(reader, 18)).toString()).toBe("hello\r\ngot hello\r\n");
    await kit.shell(`printf '\\003' > ${stdin}`).exited;
    expect((await child.exited).signal).toBe(2);
    expect((await kit.readToEnd(reader)).toString()).toBe("^C");
    await stdio.drained;
  });

  test("passes every byte in raw mode", async () => {
    await using kit = new Kit();
    const [stdin, stdout] = [kit.fifo("in"), kit.fifo("out")];
    const stdio = await kit.open({ terminal: true, stdin, stdout });
    using reader = kit.reader(stdout);
    await start(kit, stdio, `${RAW} echo; exec head -c 256`);
    await kit.read(reader, 1); // raw by now
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
    await Bun.write(join(kit.dir, "bytes"), bytes);
    kit.shell(`cat ${kit.dir}/bytes > ${stdin}`);
    expect(await kit.readToEnd(reader)).toEqual(bytes);
  });

  test("is resized before it comes and after, and the process is told", async () => {
    await using kit = new Kit();
    const stdout = kit.fifo("out");
    const stdio = await kit.open({ terminal: true, stdout });
    stdio.resize(100, 40);
    using reader = kit.reader(stdout);
    await start(
      kit,
      stdio,
      `${RAW} until [ "$(stty size)" != '0 0' ]; do :; done; trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.01; done`,
    );
    expect((await kit.read(reader, 7)).toString()).toBe("40 100\n");
    const master = stdio.descriptors().find(({ name }) => name === "pty-master");
    expect(windowSize(master?.fd ?? -1)).toEqual({ columns: 100, rows: 40 });
    stdio.resize(132, 50);
    expect((await kit.readToEnd(reader)).toString()).toBe("50 132\n");
  });

  test("goes on when every slave was closed and one is opened again", async () => {
    await using kit = new Kit();
    const stdout = kit.fifo("out");
    const stdio = await kit.open({ terminal: true, stdout });
    using reader = kit.reader(stdout);
    await start(
      kit,
      stdio,
      `${RAW} t=$(tty); echo one; exec <&- >&- 2>&-; sleep 0.1; exec <>$t >&0; echo two`,
    );
    expect((await kit.readToEnd(reader)).toString()).toBe("one\ntwo\n");
  });

  test("goes on after a hang-up, without using the processor meanwhile", async () => {
    await using kit = new Kit();
    const stdout = kit.fifo("out");
    const stdio = await kit.open({ terminal: true, stdout });
    using reader = kit.reader(stdout);
    // TIOCVHANGUP, what a getty does to the terminal that it takes over.
    const hangUp = "import fcntl; fcntl.ioctl(0, 0x5437)";
    const child = await start(
      kit,
      stdio,
      `${RAW} trap '' HUP; t=$(tty); echo one; sleep 0.1; python3 -c '${hangUp}'; exec <&- >&- 2>&-; sleep 0.5; exec <>$t >&0; stty raw -echo; echo two; sleep 0.1`,
    );
    expect((await kit.read(reader, 4)).toString()).toBe("one\n");
    const before = process.cpuUsage();
    await child.exited;
    const used = process.cpuUsage(before);
    expect((await kit.readToEnd(reader)).toString()).toBe("two\n");
    expect(used.user + used.system).toBeLessThan(400_000); // microseconds of 600 ms
  });

  test(
    "gives a slow reader every byte of a megabyte that was written in the last instant",
    async () => {
      await using kit = new Kit();
      const stdout = kit.fifo("out");
      const { path, sum } = kit.random(1024 * 1024);
      const stdio = await kit.open({ terminal: true, stdout });
      using reader = kit.reader(stdout);
      const child = await start(kit, stdio, `${RAW} cat ${path}`);
      const parts: Buffer[] = [];
      for (;;) {
        const part = await kit.read(reader, 50_000);
        if (part.length === 0) break;
        parts.push(part);
        await Bun.sleep(2);
      }
      expect(checksum(Buffer.concat(parts))).toBe(sum);
      expect((await child.exited).status).toBe(0);
      await stdio.drained;
    },
    SLOW_MS,
  );

  test("drains what is left for a reader that comes after the exit", async () => {
    await using kit = new Kit();
    const stdout = kit.fifo("out");
    const stdio = await kit.open({ terminal: true, stdout });
    const child = await start(kit, stdio, `${RAW} head -c 100000 /dev/zero | tr '\\0' x`);
    // More than the FIFO holds: it waits in the relay and the terminal.
    await Bun.sleep(100);
    const received = kit.output(`cat ${stdout} | wc -c`);
    expect(await received).toBe("100000\n");
    await child.exited;
    await stdio.drained;
  });

  test(
    "50 MB of raw output arrive as they were",
    async () => {
      await using kit = new Kit();
      const stdout = kit.fifo("out");
      const { path, sum } = kit.random(50 * 1024 * 1024);
      const stdio = await kit.open({ terminal: true, stdout });
      const received = kit.output(`sha256sum < ${stdout}`);
      await start(kit, stdio, `${RAW} cat ${path}`);
      expect(await received).toStartWith(sum);
    },
    SLOW_MS,
  );

  test(
    "megabytes of raw input arrive as they were",
    async () => {
      await using kit = new Kit();
      const [stdin, stdout] = [kit.fifo("in"), kit.fifo("out")];
      const { path, sum } = kit.random(4 * 1024 * 1024);
      const stdio = await kit.open({ terminal: true, stdin, stdout });
      using reader = kit.reader(stdout);
      await start(kit, stdio, `${RAW} echo; head -c ${4 * 1024 * 1024} | sha256sum`);
      await kit.read(reader, 1);
      kit.shell(`cat ${path} > ${stdin}`);
      expect((await kit.readToEnd(reader)).toString()).toStartWith(sum);
    },
    SLOW_MS,
  );

  test("a background child that keeps the terminal does not keep the client from its end", async () => {
    await using kit = new Kit();
    const stdout = kit.fifo("out");
    const stdio = await kit.open({ terminal: true, stdout });
    using reader = kit.reader(stdout);
    const child = await start(kit, stdio, `${RAW} trap '' HUP; sleep 60 & echo $!`);
    const pid = Number((await kit.readToEnd(reader)).toString());
    await child.exited;
    await stdio.drained;
    // It is still running: otherwise this throws.
    expect(process.kill(pid, 9)).toBe(true);
  });

  test("a client that goes and comes again does not end the input; CloseIO types the end", async () => {
    await using kit = new Kit();
    const [stdin, stdout] = [kit.fifo("in"), kit.fifo("out")];
    const stdio = await kit.open({ terminal: true, stdin, stdout });
    using reader = kit.reader(stdout);
    const child = await start(kit, stdio, "stty -echo -onlcr; echo; cat; echo end");
    await kit.read(reader, 1);
    await kit.shell(`echo one > ${stdin}`).exited;
    expect((await kit.read(reader, 4)).toString()).toBe("one\n");
    await kit.shell(`printf two > ${stdin}`).exited;
    expect(child.exit).toBeUndefined();
    stdio.closeStdin();
    expect((await kit.readToEnd(reader)).toString()).toBe("twoend\n");
  });

  test("a reader may go and come again", async () => {
    await using kit = new Kit();
    const stdout = kit.fifo("out");
    const stdio = await kit.open({ terminal: true, stdout });
    await start(kit, stdio, `${RAW} seq 20000`);
    const parts: Buffer[] = [];
    for (const bytes of [10, 5000, 50_000]) {
      using reader = kit.reader(stdout);
      parts.push(await kit.read(reader, bytes));
    }
    using last = kit.reader(stdout);
    parts.push(await kit.readToEnd(last));
    const lines = Array.from({ length: 20_000 }, (_, index) => index + 1);
    expect(Buffer.concat(parts).toString()).toBe(`${lines.join("\n")}\n`);
  });

  test("without any path runs into nowhere", async () => {
    await using kit = new Kit();
    const stdio = await kit.open({ terminal: true });
    const child = await start(kit, stdio, `${RAW} seq 100000`);
    expect((await child.exited).status).toBe(0);
    await stdio.drained;
  });

  test("writes to a file", async () => {
    await using kit = new Kit();
    const path = join(kit.dir, "log");
    const stdio = await kit.open({ terminal: true, stdout: `file://${path}` });
    await start(kit, stdio, `${RAW} seq 3`);
    await stdio.drained;
    expect(readFileSync(path, "utf8")).toBe("1\n2\n3\n");
  });

  test("writes to a logging binary, which sees the end of stderr at once", async () => {
    await using kit = new Kit();
    const script = join(kit.dir, "logger");
    await Bun.write(
      script,
      `#!/bin/bash\ncat <&4 > ${kit.dir}/err; echo done > ${kit.dir}/err\nexec 5>&-\ncat <&3 > ${kit.dir}/out\n`,
    );
    chmodSync(script, 0o755);
    const opening = kit.open({ terminal: true, stdout: `binary://${script}` }, SHORT);
    // This logger reads stderr before it says that it is ready, which a terminal's may not do.
    await expect(opening).rejects.toThrow("was not ready within");
    await Bun.write(
      script,
      `#!/bin/bash\nexec 5>&-\ncat <&4; echo done > ${kit.dir}/err\ncat <&3 > ${kit.dir}/out\n`,
    );
    const stdio = await kit.open({ terminal: true, stdout: `binary://${script}` });
    const child = await start(kit, stdio, `${RAW} seq 3; sleep 0.1`);
    await kit.until(() => existsSync(`${kit.dir}/err`));
    await child.exited;
    await stdio.drained;
    await stdio.close();
    expect(readFileSync(`${kit.dir}/out`, "utf8")).toBe("1\n2\n3\n");
    expect(kit.warnings).toEqual([]);
  });
});

const SHORT = { loggerLimits: { readyMs: 200, endMs: 200, killMs: 200 } };

function consoleDirectories(): string[] {
  return readdirSync("/tmp").filter((name) => name.startsWith("wedge-pty-"));
}
