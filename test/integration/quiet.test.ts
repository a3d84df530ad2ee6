/** A quiet shim dozes or sleeps, and whatever happens to it then is served. */

import { beforeAll, describe, expect, test } from "bun:test";
import { TaskDefinition } from "../../src/gen/containerd/task/v3/task.ts";
import { createStub } from "../../src/rpc/ttrpc/stub.ts";
import { buildExecutable } from "../compiled.ts";
import { drain, FifoWriter, fifo, LiveShim, until } from "./live-shim.ts";

const TIMEOUT_MS = 240_000;
const ROUNDS = 3;

interface Quiet {
  readonly name: string;
  /** 0: never. */
  readonly sleepAfterSeconds: number;
  readonly isQuiet: (shim: LiveShim) => boolean;
  /** Whether it is quiet with a task that has ended, too. */
  readonly isQuietAtTheEnd: boolean;
}

const DOZING: Quiet = {
  name: "dozing",
  sleepAfterSeconds: 0,
  isQuiet: (shim) => shim.isDozing,
  isQuietAtTheEnd: false,
};
const SLEEPING: Quiet = {
  name: "sleeping",
  sleepAfterSeconds: 0.1,
  isQuiet: (shim) => shim.isAsleep,
  isQuietAtTheEnd: true,
};
/** The sleeper is built by a C compiler. */
const KINDS = Bun.which("cc") === null ? [DOZING] : [DOZING, SLEEPING];

beforeAll(buildExecutable, TIMEOUT_MS);

describe.each(KINDS)("a $name shim", ({ name, sleepAfterSeconds, isQuiet, isQuietAtTheEnd }) => {
  const quiet = (shim: LiveShim) => until(`the shim is ${name}`, () => isQuiet(shim));
  const woken = (shim: LiveShim) => until("it woke", () => !isQuiet(shim));

  test(
    "answers calls on old and new connections, and tells of exits",
    async () => {
      await using shim = await LiveShim.start({ sleepAfterSeconds });
      using bundle = shim.bundle({ script: "sleep 1000" });
      const { id } = bundle;
      const pid = await shim.create(bundle);
      await shim.task.start({ id, execId: "" });
      await quiet(shim);
      expect(await shim.task.state({ id, execId: "" })).toMatchObject({ pid });
      await quiet(shim);
      const other = createStub(await shim.connect(), TaskDefinition);
      expect((await other.connect({ id })).shimPid).toBe(shim.pid);
      const waited = other.wait({ id, execId: "" });
      await quiet(shim);
      process.kill(pid, "SIGKILL");
      expect((await waited).exitStatus).toBe(137);
      if (isQuietAtTheEnd) await quiet(shim);
      await shim.task.delete({ id, execId: "" });
      await until("all events are there", () => shim.events.length >= 4);
      expect(shim.events.map(({ topic }) => topic)).toEqual([
        ...["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"],
      ]);
    },
    TIMEOUT_MS,
  );

  test(
    "wakes for a byte on a terminal and for one of input",
    async () => {
      await using shim = await LiveShim.start({ sleepAfterSeconds });
      using terminal = shim.bundle({ script: "stty raw -echo; echo ready; cat", terminal: true });
      using echo = shim.bundle({ script: "cat" });
      const paths = Object.fromEntries(
        ["type-in", "type-out", "echo-in", "echo-out"].map((file) => [file, fifo(shim, file)]),
      );
      const [typeIn = "", typeOut = "", echoIn = "", echoOut = ""] = Object.values(paths);
      const typed = drain(typeOut);
      const echoed = drain(echoOut);
      await shim.create(terminal, { terminal: true, stdin: typeIn, stdout: typeOut });
      await shim.create(echo, { stdin: echoIn, stdout: echoOut });
      for (const { id } of [terminal, echo]) await shim.task.start({ id, execId: "" });
      using toTerminal = new FifoWriter(typeIn);
      using toEcho = new FifoWriter(echoIn);
      for (let round = 0; round < ROUNDS; round++) {
        await quiet(shim);
        await toTerminal.write(`typed ${round}\n`);
        await woken(shim);
        await quiet(shim);
        await toEcho.write(`input ${round}\n`);
        await woken(shim);
      }
      await quiet(shim);
      for (const { id } of [terminal, echo]) await shim.remove(id);
      expect(await typed.text).toContain("typed 1\n");
      expect(await typed.text).toContain("typed 2\n");
      expect(await echoed.text).toBe("input 0\ninput 1\ninput 2\n");
    },
    TIMEOUT_MS,
  );

  test(
    "heeds SIGUSR1 and lives, heeds SIGTERM and ends",
    async () => {
      await using shim = await LiveShim.start({ sleepAfterSeconds });
      using bundle = shim.bundle({ script: "sleep 1000" });
      const pid = await shim.create(bundle);
      await quiet(shim);
      process.kill(shim.pid, "SIGUSR1");
      await woken(shim);
      await quiet(shim);
      process.kill(shim.pid, "SIGTERM");
      await until("it has ended", () => !shim.isAlive);
      // Its container runs on: otherwise this throws.
      expect(process.kill(pid, "SIGKILL")).toBe(true);
    },
    TIMEOUT_MS,
  );
});
