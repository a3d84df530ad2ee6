/** Readers that come when the process has ended. */

import { describe, expect, test } from "bun:test";
import { chownSync } from "node:fs";
import { Kit } from "./kit.ts";

describe.each([
  ["hand-over", 0],
  ["relay", 1000],
])("output by %s", (_way, uid) => {
  function fifoOf(kit: Kit, name: string): string {
    const path = kit.fifo(name);
    chownSync(path, uid, uid);
    return path;
  }

  test("128 kB are taken before anybody reads", async () => {
    await using kit = new Kit();
    const stdout = fifoOf(kit, "out");
    const stdio = await kit.open({ stdout });
    const child = await kit.start(stdio, "head -c 131072 /dev/zero");
    expect((await child.exited).status).toBe(0);
    using reader = kit.reader(stdout);
    expect((await kit.readToEnd(reader)).length).toBe(131_072);
  });

  test("what nobody has read waits a moment for a reader before the end, and no longer", async () => {
    await using kit = new Kit();
    const stdout = fifoOf(kit, "out");
    const stdio = await kit.open({ stdout });
    const child = await kit.start(stdio, "echo last");
    await child.exited;
    const drained = stdio.drained;
    await Bun.sleep(100);
    const text = kit.output(`cat ${stdout}`);
    await drained;
    await stdio.close();
    expect(await text).toBe("last\n");
    const unread = fifoOf(kit, "unread");
    const other = await kit.open({ stdout: unread });
    await (await kit.start(other, "echo lost")).exited;
    await other.drained;
  });
});
