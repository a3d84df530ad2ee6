/** The end of a process whose client has not read all yet, over real runc. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { O_NONBLOCK, O_RDONLY, openFd, readableBytes, readFd } from "../../src/linux/fd.ts";
import { buildExecutable } from "../compiled.ts";
import type { Bundle } from "../fake/bundle.ts";
import { fifo, LiveShim, until } from "./live-shim.ts";

/** Longer than the shim takes to tell an end, shorter than it waits for a reader. */
const LATE_MS = 50;
const BYTES = 3000;
const SCRIPT = ["sh", "-c", `until [ -e /go ]; do sleep 0.01; done; printf %0${BYTES}d 0`];

let shim: LiveShim;
beforeAll(async () => {
  await buildExecutable();
  shim = await LiveShim.start();
});
afterAll(async () => await shim[Symbol.asyncDispose]());

let count = 0;

describe.each([
  ["init's FIFO", "init", false],
  ["init's terminal", "init", true],
  ["an exec's FIFO", "exec", false],
  ["an exec's terminal", "exec", true],
] as const)("%s", (_, kind, terminal) => {
  /** Runs the script; returns where it is found, and what it writes to. */
  async function start(bundle: Bundle) {
    const { id } = bundle;
    const stdout = fifo(shim, `unread-${count++}`);
    const io = { terminal, stdout };
    await shim.create(bundle, kind === "init" ? io : {});
    const { pid } = await shim.task.start({ id, execId: "" });
    if (kind === "init") return { pid, stdout, execId: "" };
    return { pid: await shim.exec(id, "e1", SCRIPT, io), stdout, execId: "e1" };
  }

  test.each([
    ["is told when its client has read all, if it is only late", true],
    ["is told if nobody reads", false],
  ])("the end %s", async (_name, reads) => {
    const init = { args: SCRIPT, terminal };
    using bundle = shim.bundle(kind === "init" ? init : { args: ["sleep", "1000"] });
    const { id } = bundle;
    const { pid, stdout, execId } = await start(bundle);
    using reader = openFd(stdout, O_RDONLY | O_NONBLOCK);
    const order: string[] = [];
    const told = shim.task.wait({ id, execId }).then(() => order.push("told"));
    await Bun.write(`/proc/${pid}/root/go`, "");
    await until("the process has exited", () => !existsSync(`/proc/${pid}`));
    if (reads) {
      await Bun.sleep(LATE_MS);
      expect(readableBytes(reader.fd)).toBe(BYTES);
      order.push("read");
      expect(readFd(reader.fd, new Uint8Array(BYTES + 1))).toBe(BYTES);
    }
    await told;
    expect(order).toEqual(reads ? ["read", "told"] : ["told"]);
    await shim.remove(id);
  });
});
