/** Whether a reader has still to read what an ended process wrote, as the stdio of the process sees it. */

import { expect, test } from "bun:test";
import { chownSync } from "node:fs";
import { join } from "node:path";
import { Kit } from "./kit.ts";

const OWNERS: [way: string, uid: number][] = [
  ["hand-over", 0],
  ["relay", 1000],
];

test.each(OWNERS)("output by %s is being read until all is read", async (_way, uid) => {
  await using kit = new Kit();
  const stdout = kit.fifo("out");
  chownSync(stdout, uid, uid);
  const stdio = await kit.open({ stdout });
  using reader = kit.reader(stdout);
  await (await kit.start(stdio, "printf 123456")).exited;
  expect(stdio.isBeingRead).toBe(true);
  expect((await kit.read(reader, 4)).toString()).toBe("1234");
  expect(stdio.isBeingRead).toBe(true);
  expect((await kit.readToEnd(reader)).toString()).toBe("56");
  expect(stdio.isBeingRead).toBe(false);
});

test.each(OWNERS)("output by %s is not being read where nobody has it open", async (_way, uid) => {
  await using kit = new Kit();
  const stdout = kit.fifo("out");
  chownSync(stdout, uid, uid);
  const stdio = await kit.open({ stdout });
  await (await kit.start(stdio, "printf 123456")).exited;
  // The first look for a reader comes with the news that the last writer has gone.
  await kit.until(() => !stdio.isBeingRead);
  expect(stdio.isBeingRead).toBe(false);
});

test("what a full FIFO keeps in the pipe before it is to be read too", async () => {
  await using kit = new Kit();
  const stdout = kit.fifo("out");
  chownSync(stdout, 1000, 1000);
  const stdio = await kit.open({ stdout });
  using reader = kit.reader(stdout);
  await (await kit.start(stdio, "head -c 100000 /dev/zero")).exited;
  expect((await kit.read(reader, 99_999)).length).toBe(99_999);
  expect(stdio.isBeingRead).toBe(true);
  expect((await kit.readToEnd(reader)).length).toBe(1);
  expect(stdio.isBeingRead).toBe(false);
});

test("nobody reads a file", async () => {
  await using kit = new Kit();
  const stdio = await kit.open({ stdout: `file://${join(kit.dir, "log")}` });
  await (await kit.start(stdio, "echo text")).exited;
  expect(stdio.isBeingRead).toBe(false);
});

test("nothing is being read once the streams are closed", async () => {
  await using kit = new Kit();
  const stdout = kit.fifo("out");
  const stdio = await kit.open({ stdout });
  using _ = kit.reader(stdout);
  await (await kit.start(stdio, "echo text")).exited;
  await stdio.close();
  expect(stdio.isBeingRead).toBe(false);
});
