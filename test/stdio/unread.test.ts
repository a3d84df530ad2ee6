/** Whether a client has read what its process wrote, as the stdio of the process sees it. */

import { expect, test } from "bun:test";
import { chownSync } from "node:fs";
import { join } from "node:path";
import { Kit } from "./kit.ts";

test.each([
  ["hand-over", 0],
  ["relay", 1000],
])("output by %s is unread until it is read", async (_way, uid) => {
  await using kit = new Kit();
  const stdout = kit.fifo("out");
  chownSync(stdout, uid, uid);
  const stdio = await kit.open({ stdout });
  using reader = kit.reader(stdout);
  await (await kit.start(stdio, "printf 123456")).exited;
  expect(stdio.hasUnread).toBe(true);
  expect((await kit.read(reader, 4)).toString()).toBe("1234");
  expect(stdio.hasUnread).toBe(true);
  expect((await kit.readToEnd(reader)).toString()).toBe("56");
  expect(stdio.hasUnread).toBe(false);
});

test("what a full FIFO keeps in the pipe before it is unread too", async () => {
  await using kit = new Kit();
  const stdout = kit.fifo("out");
  chownSync(stdout, 1000, 1000);
  const stdio = await kit.open({ stdout });
  using reader = kit.reader(stdout);
  await (await kit.start(stdio, "head -c 100000 /dev/zero")).exited;
  expect((await kit.read(reader, 99_999)).length).toBe(99_999);
  expect(stdio.hasUnread).toBe(true);
  expect((await kit.readToEnd(reader)).length).toBe(1);
  expect(stdio.hasUnread).toBe(false);
});

test("nobody reads a file: nothing of it is unread", async () => {
  await using kit = new Kit();
  const stdio = await kit.open({ stdout: `file://${join(kit.dir, "log")}` });
  await (await kit.start(stdio, "echo text")).exited;
  expect(stdio.hasUnread).toBe(false);
});

test("nothing is unread once the streams are closed", async () => {
  await using kit = new Kit();
  const stdio = await kit.open({ stdout: kit.fifo("out") });
  await (await kit.start(stdio, "echo text")).exited;
  await stdio.close();
  expect(stdio.hasUnread).toBe(false);
});
