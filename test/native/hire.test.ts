/** Faulty exchanges between a launcher and a spare. */

import { beforeAll, expect, test } from "bun:test";
import { existsSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { SPARE_READY, SPARE_REFUSES } from "../../src/command/spare/spare.ts";
import { writeFd } from "../../src/linux/fd.ts";
import { waitUntilReady } from "../../src/linux/poll.ts";
import { acceptUnix, listenUnix, receiveMessage } from "../../src/linux/scm-rights.ts";
import { runShim, until } from "../command/shim-process.ts";
import { buildExecutable, executable } from "../compiled.ts";
import { Kin, pidOf, socketsOf } from "./spare-kin.ts";

const TIMEOUT_MS = 60_000;

beforeAll(buildExecutable, TIMEOUT_MS);

/** A spare in this process, of the kin of one that it takes the place of; it says that it is ready, and `answer` the rest. */
async function impersonate(
  kin: Kin,
  answer: (connection: number) => void,
): Promise<AsyncDisposable> {
  const spare = await kin.spare();
  const [socket = ""] = socketsOf(spare);
  const path = join(dirname(socket), String(process.pid));
  const listener = listenUnix(path, "packets");
  process.kill(spare, "SIGKILL");
  await until(() => !existsSync(`/proc/${spare}`));
  const timer = setInterval(() => {
    const connection = acceptUnix(listener.fd);
    if (connection === "again") return;
    using owned = connection;
    writeFd(owned.fd, Uint8Array.of(SPARE_READY));
    expect(waitUntilReady(owned.fd, "readable", 5000)).toBe(true);
    answer(owned.fd);
  }, 1);
  return {
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      listener[Symbol.dispose]();
      await until(() => !existsSync(path));
      // What was killed has left its name.
      rmSync(dirname(socket), { recursive: true, force: true });
    },
  };
}

/** Takes what is lent, and lets go of it. */
function takeLoan(connection: number): void {
  const message = receiveMessage(connection, 65_536);
  if (message === "again") throw new Error("Nothing was lent");
  for (const fd of message.descriptors) fd[Symbol.dispose]();
  expect(message.descriptors).toHaveLength(4);
}

test.each([
  ["ends before it has looked at what it is to do", () => {}],
  [
    "does not understand what it is to do",
    (connection: number) => {
      takeLoan(connection);
      writeFd(connection, Uint8Array.of(SPARE_REFUSES));
    },
  ],
] as const)(
  "where a spare %s, the launcher does without",
  async (_, answer) => {
    await using kin = new Kin();
    await using _fake = await impersonate(kin, answer);
    const pid = await pidOf(await kin.start("b"));
    expect(kin.shims).toEqual([pid]);
  },
  TIMEOUT_MS,
);

test(
  "a spare that ends while it starts a shim is told of as any other that does",
  async () => {
    await using kin = new Kin();
    await using _fake = await impersonate(kin, takeLoan);
    const run = await kin.run("b");
    expect(run.exitCode).toBe(1);
    expect(run.stderr).toContain("the shim was killed while it started");
    expect(kin.shims).toEqual([]);
  },
  TIMEOUT_MS,
);

test.each([0, 3, 255])(
  "status %d of a spare is that of start",
  async (status) => {
    await using kin = new Kin();
    await using _fake = await impersonate(kin, (connection) => {
      takeLoan(connection);
      writeFd(connection, Uint8Array.of(status));
    });
    kin.place.bundle("b");
    const args = ["-namespace", kin.place.namespace, "-id", "b", "start"];
    const env = { ...kin.env };
    const run = await runShim(args, { cwd: join(kin.place.path, "b"), program: [executable], env });
    expect(run.exitCode).toBe(status);
  },
  TIMEOUT_MS,
);
