/** The end of a process whose client has not read everything yet, over real runc. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { TaskExit } from "../../src/gen/containerd/events/task.ts";
import { Status } from "../../src/gen/containerd/types/task/task.ts";
import { O_NONBLOCK, O_RDONLY, type OwnedFd, openFd, readFd } from "../../src/linux/fd.ts";
import { buildExecutable } from "../compiled.ts";
import type { Bundle } from "../fake/bundle.ts";
import { fifo, LiveShim, until } from "./live-shim.ts";

/** Longer than the shim takes to tell an end, shorter than it waits for a reader. */
const LATE_MS = 50;
const BYTES = 3000;
const SCRIPT = ["sh", "-c", `until [ -e /go ]; do sleep 0.01; done; printf %0${BYTES}d 0`];
const SLEEP = ["sleep", "1000"];

let shim: LiveShim;
beforeAll(async () => {
  await buildExecutable();
  shim = await LiveShim.start();
});
afterAll(async () => await shim[Symbol.asyncDispose]());

let count = 0;

/** One that ends when it is let go, and whose end is waited for. */
interface Writing {
  readonly id: string;
  readonly execId: string;
  readonly pid: number;
  readonly reader: OwnedFd;
  /** What has happened, in order: its end is "told", or what the test has done. */
  readonly order: string[];
  readonly told: Promise<unknown>;
}

async function start(bundle: Bundle, execId: string, terminal: boolean): Promise<Writing> {
  const { id } = bundle;
  const stdout = fifo(shim, `unread-${count++}`);
  const io = { terminal, stdout };
  await shim.create(bundle, execId === "" ? io : {});
  let { pid } = await shim.task.start({ id, execId: "" });
  if (execId !== "") pid = await shim.exec(id, execId, SCRIPT, io);
  const reader = openFd(stdout, O_RDONLY | O_NONBLOCK);
  const order: string[] = [];
  const told = shim.task.wait({ id, execId }).then(() => order.push("told"));
  return { id, execId, pid, reader, order, told };
}

async function letEnd({ pid }: Writing): Promise<void> {
  await Bun.write(`/proc/${pid}/root/go`, "");
  await until("the process has exited", () => !existsSync(`/proc/${pid}`));
}

function readAll({ reader }: Writing): number {
  const read = readFd(reader.fd, new Uint8Array(BYTES + 1));
  return read === "again" ? 0 : read;
}

function events(id: string): readonly string[] {
  return shim.events.flatMap(({ topic, value }) => {
    const { containerId, id: process } = TaskExit.decode(value);
    return containerId === id ? [`${topic} ${process === id ? "" : process}`.trim()] : [];
  });
}

describe.each([
  ["init's FIFO", "", false],
  ["init's terminal", "", true],
  ["an exec's FIFO", "e1", false],
  ["an exec's terminal", "e1", true],
] as const)("%s", (_name, execId, terminal) => {
  const newBundle = () => shim.bundle(execId === "" ? { args: SCRIPT, terminal } : { args: SLEEP });

  test("the end is told when a client that is only late has read all", async () => {
    using bundle = newBundle();
    const writing = await start(bundle, execId, terminal);
    using _ = writing.reader;
    const { id, order, told } = writing;
    await letEnd(writing);
    await Bun.sleep(LATE_MS);
    const { status, exitStatus } = await shim.task.state({ id, execId });
    order.push("read");
    expect(readAll(writing)).toBe(BYTES);
    await told;
    expect(order).toEqual(["read", "told"]);
    // Who asks is not kept waiting.
    expect([status, exitStatus]).toEqual([Status.STOPPED, 0]);
    await shim.remove(id);
  });

  test("the end is told if the client does not read, once", async () => {
    using bundle = newBundle();
    const writing = await start(bundle, execId, terminal);
    using _ = writing.reader;
    await letEnd(writing);
    await writing.told;
    expect(readAll(writing)).toBe(BYTES);
    await shim.remove(bundle.id);
    const exits = events(bundle.id).filter((event) => event.startsWith("/tasks/exit"));
    expect(exits).toEqual(execId === "" ? ["/tasks/exit"] : ["/tasks/exit e1", "/tasks/exit"]);
  });

  test("Delete waits for no client to read, and the end comes first", async () => {
    using bundle = newBundle();
    const writing = await start(bundle, execId, terminal);
    using _ = writing.reader;
    const { id, order, told } = writing;
    await letEnd(writing);
    const exits = () => events(id).filter((event) => /exit|delete/.test(event));
    expect(exits()).toEqual([]);
    await shim.task.delete({ id, execId });
    order.push("deleted");
    await told;
    expect(order).toEqual(["told", "deleted"]);
    if (execId !== "") await shim.remove(id);
    await until("the deletion is told", () => exits().at(-1)?.startsWith("/tasks/delete") === true);
    const initOnly = ["/tasks/exit", "/tasks/delete"];
    expect(exits()).toEqual(execId === "" ? initOnly : ["/tasks/exit e1", ...initOnly]);
  });
});

test.each(["", "e1"])(
  "a wait for a reader outlives an exchange of programs: %p",
  async (execId) => {
    using bundle = shim.bundle({ args: execId === "" ? SCRIPT : SLEEP });
    const { id } = bundle;
    const writing = await start(bundle, execId, false);
    using _ = writing.reader;
    await letEnd(writing);
    await shim.handoff.upgrade({ binary: "" });
    await writing.told;
    expect(readAll(writing)).toBe(BYTES);
    expect((await shim.task.delete({ id, execId })).exitStatus).toBe(0);
    if (execId !== "") await shim.remove(id);
    const exits = () => events(id).filter((event) => event.startsWith("/tasks/exit"));
    const expected = execId === "" ? ["/tasks/exit"] : ["/tasks/exit e1", "/tasks/exit"];
    await until("the ends are told", () => exits().length >= expected.length);
    expect(exits()).toEqual(expected);
  },
);

test("init's end comes after those of its execs, which are waited for at the same time", async () => {
  using bundle = shim.bundle({ args: SCRIPT });
  const init = await start(bundle, "", false);
  using _ = init.reader;
  const stdout = fifo(shim, `unread-${count++}`);
  using _reader = openFd(stdout, O_RDONLY | O_NONBLOCK);
  const text = `printf %0${BYTES}d 0; exec sleep 1000`;
  await shim.exec(bundle.id, "e1", ["sh", "-c", text], { stdout });
  await letEnd(init);
  await init.told;
  await shim.remove(bundle.id);
  const exits = events(bundle.id).filter((event) => event.startsWith("/tasks/exit"));
  expect(exits).toEqual(["/tasks/exit e1", "/tasks/exit"]);
});

test("a shim that is told to end tells the ends that it has seen first", async () => {
  await using other = await LiveShim.start();
  using bundle = other.bundle({ args: SLEEP });
  const { id } = bundle;
  await other.create(bundle);
  await other.task.start({ id, execId: "" });
  const stdout = fifo(other, "out");
  using _ = openFd(stdout, O_RDONLY | O_NONBLOCK);
  const pid = await other.exec(id, "e1", ["sh", "-c", "sleep 0.1; echo text"], { stdout });
  await until("the process has exited", () => !existsSync(`/proc/${pid}`));
  process.kill(other.pid, "SIGTERM");
  await until("the shim has ended", () => !other.isAlive);
  const topics = other.events.map(({ topic }) => topic);
  expect(topics.at(-1)).toBe("/tasks/exit");
});
