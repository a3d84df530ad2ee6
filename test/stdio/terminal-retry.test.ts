/** A terminal whose slave cannot be kept open: it is tried again and again, at first soon. */

import { expect, spyOn, test } from "bun:test";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { openPipe, readFd, setNonBlocking } from "../../src/linux/fd.ts";
import { Sink } from "../../src/stdio/sink.ts";
import { Terminal } from "../../src/stdio/terminal.ts";
import { withoutDescriptors } from "../linux/no-descriptors.ts";
import { openPty, slavePath } from "../linux/pseudo-terminal.ts";
import { Kit } from "./kit.ts";

test("is looked at soon whenever a process closes it, however long the last one was waited for", async () => {
  await using kit = new Kit();
  const { poller, log } = kit;
  const { reader, writer } = openPipe();
  using output = reader;
  setNonBlocking(output.fd, true);
  const sink = Sink.over(writer, "stdout", log);
  const terminal = new Terminal({ input: undefined, sink, poller, log });
  await using _terminal = { [Symbol.asyncDispose]: () => terminal.close() };
  const master = openPty();
  const path = (name: string) => join(kit.dir, name);
  const untilThere = (name: string) => `until [ -e ${path(name)} ]; do sleep 0.01; done`;
  const open = `exec 3<>${slavePath(master.fd)}`;
  const close = "exec 3>&-";
  kit.shell(
    `${open}; mkdir ${path("open")}; ${untilThere("1")}; ${close}; ${untilThere("2")}; ${open}; echo x >&3; ${untilThere("3")}; ${close}; ${untilThere("4")}`,
  );
  await kit.until(() => existsSync(path("open")));
  using timers = spyOn(globalThis, "setTimeout");
  const [pollerMs, bytes] = [100, Buffer.alloc(1)];
  const waits = () => timers.mock.calls.map(([, ms = 0]) => ms).filter((ms) => ms !== pollerMs);
  await withoutDescriptors(async () => {
    terminal.adopt(master);
    terminal.attach();
    mkdirSync(path("1"));
    await kit.until(() => waits().length >= 4);
    expect(waits().slice(0, 4)).toEqual([1, 2, 4, 8]);
    mkdirSync(path("2"));
    await kit.until(() => readFd(output.fd, bytes) === 1);
    const before = waits().length;
    mkdirSync(path("3"));
    await kit.until(() => waits().length > before);
    expect(waits()[before]).toBe(1);
  });
  mkdirSync(path("4"));
});
