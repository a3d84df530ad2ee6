import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { Kit } from "./kit.ts";

const MANY_BYTES = 50 * 1024 * 1024;
const SLOW_MS = 60_000;

describe("input", () => {
  test(
    "50 MB arrive as they were, and CloseIO ends them",
    async () => {
      await using kit = new Kit();
      const [stdin, stdout] = [kit.fifo("in"), kit.fifo("out")];
      const { path, sum } = kit.random(MANY_BYTES);
      const stdio = await kit.open({ stdin, stdout });
      using reader = kit.reader(stdout);
      await kit.start(stdio, "sha256sum");
      await kit.shell(`cat ${path} > ${stdin}`).exited;
      stdio.closeStdin();
      expect((await kit.readToEnd(reader)).toString()).toStartWith(sum);
    },
    SLOW_MS,
  );

  test("a client that comes, goes and comes again does not end the input; CloseIO does", async () => {
    await using kit = new Kit();
    const [stdin, stdout] = [kit.fifo("in"), kit.fifo("out")];
    const stdio = await kit.open({ stdin, stdout });
    using reader = kit.reader(stdout);
    const child = await kit.start(stdio, "cat; echo end");
    await kit.shell(`echo one > ${stdin}`).exited;
    expect((await kit.read(reader, 4)).toString()).toBe("one\n");
    await kit.shell(`echo two > ${stdin}`).exited;
    expect((await kit.read(reader, 4)).toString()).toBe("two\n");
    expect(child.exit).toBeUndefined();
    stdio.closeStdin();
    expect((await kit.readToEnd(reader)).toString()).toBe("end\n");
  });

  test("after CloseIO a client that still writes is heard to its end", async () => {
    await using kit = new Kit();
    const [stdin, stdout] = [kit.fifo("in"), kit.fifo("out")];
    const stdio = await kit.open({ stdin, stdout });
    using reader = kit.reader(stdout);
    await kit.start(stdio, "cat; echo end");
    const go = kit.fifo("go");
    kit.shell(`exec > ${stdin}; echo one; read line < ${go}; echo two`);
    expect((await kit.read(reader, 4)).toString()).toBe("one\n");
    stdio.closeStdin();
    kit.shell(`echo > ${go}`);
    expect((await kit.readToEnd(reader)).toString()).toBe("two\nend\n");
  });

  test("CloseIO before the start ends the input at once", async () => {
    await using kit = new Kit();
    const [stdin, stdout] = [kit.fifo("in"), kit.fifo("out")];
    const stdio = await kit.open({ stdin, stdout });
    stdio.closeStdin();
    using reader = kit.reader(stdout);
    await kit.start(stdio, "cat; echo end");
    expect((await kit.readToEnd(reader)).toString()).toBe("end\n");
  });

  test("what the client wrote before the start is not lost", async () => {
    await using kit = new Kit();
    const [stdin, stdout] = [kit.fifo("in"), kit.fifo("out")];
    const stdio = await kit.open({ stdin, stdout });
    await kit.shell(`echo early > ${stdin}`).exited;
    stdio.closeStdin();
    using reader = kit.reader(stdout);
    await kit.start(stdio, "cat");
    expect((await kit.readToEnd(reader)).toString()).toBe("early\n");
  });

  test("/dev/stdin opened anew, after the client has gone, has the bytes and the end", async () => {
    await using kit = new Kit();
    const [stdin, stdout] = [kit.fifo("in"), kit.fifo("out")];
    const go = kit.fifo("go");
    const stdio = await kit.open({ stdin, stdout });
    using reader = kit.reader(stdout);
    await kit.start(stdio, `read line < ${go}; cat /dev/stdin; cat /dev/stdin; echo end`);
    await kit.shell(`echo bytes > ${stdin}`).exited;
    stdio.closeStdin();
    kit.shell(`echo > ${go}`);
    expect((await kit.readToEnd(reader)).toString()).toBe("bytes\nend\n");
  });

  test("a client that writes to a process that has closed its stdin is told", async () => {
    await using kit = new Kit();
    const stdin = kit.fifo("in");
    const stdio = await kit.open({ stdin });
    const client = kit.shell(`trap '' PIPE; exec > ${stdin}; while echo x; do :; done`);
    await kit.start(stdio, "exec 0<&-; sleep 60");
    expect((await client.exited).status).toBe(0);
    expect(stdio.descriptors()).toEqual([]);
  });

  test("a client that comes after the process has closed its stdin is told, and waits for nothing", async () => {
    await using kit = new Kit();
    const stdin = kit.fifo("in");
    const stdio = await kit.open({ stdin });
    await kit.start(stdio, `exec 0<&-; : > ${kit.dir}/closed; sleep 60`);
    await kit.until(() => existsSync(`${kit.dir}/closed`));
    await Bun.sleep(20);
    const client = kit.shell(`trap '' PIPE; exec > ${stdin}; while echo x; do :; done`);
    expect((await client.exited).status).toBe(0);
  });

  test("a client that is blocked when the process exits is let go", async () => {
    await using kit = new Kit();
    const stdin = kit.fifo("in");
    const stdio = await kit.open({ stdin });
    const client = kit.shell(`exec cat /dev/zero > ${stdin}`);
    await kit.start(stdio, "sleep 0.1");
    expect((await client.exited).signal).toBe(13);
    await stdio.drained;
  });

  test("a slow process stops the client, and nothing is lost", async () => {
    await using kit = new Kit();
    const [stdin, stdout] = [kit.fifo("in"), kit.fifo("out")];
    const { path, sum } = kit.random(4 * 1024 * 1024);
    const stdio = await kit.open({ stdin, stdout });
    using reader = kit.reader(stdout);
    const client = kit.shell(`cat ${path} > ${stdin}`);
    const go = kit.fifo("go");
    await kit.start(stdio, `read line < ${go}; sha256sum`);
    await Bun.sleep(50);
    expect(client.exit).toBeUndefined();
    kit.shell(`echo > ${go}`);
    await client.exited;
    stdio.closeStdin();
    expect((await kit.readToEnd(reader)).toString()).toStartWith(sum);
  });

  test("a regular file is read to its end", async () => {
    await using kit = new Kit();
    const stdout = kit.fifo("out");
    const { path, sum } = kit.random(3_000_000);
    const stdio = await kit.open({ stdin: path, stdout });
    using reader = kit.reader(stdout);
    await kit.start(stdio, "sha256sum");
    expect((await kit.readToEnd(reader)).toString()).toStartWith(sum);
  });
});
