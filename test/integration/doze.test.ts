/** A quiet shim waits below its event loop, and whatever happens to it then is served. */

import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { TaskDefinition } from "../../src/gen/containerd/task/v3/task.ts";
import { createStub } from "../../src/rpc/ttrpc/stub.ts";
import { buildExecutable } from "../compiled.ts";
import { drain, FifoWriter, fifo, LiveShim, until } from "./live-shim.ts";

const TIMEOUT_MS = 240_000;
/** The numbers of poll(2), or of what libc calls in its place, by processor; the event loop has others. */
const POLL: Readonly<Record<string, string>> = { x64: "7", arm64: "73" };
const QUIET_MS = 3000;

beforeAll(buildExecutable, TIMEOUT_MS);

function dozes({ pid }: LiveShim): boolean {
  const [call, , count] = readFileSync(`/proc/${pid}/syscall`, "utf8").split(" ");
  return call === POLL[process.arch] && count === "0x1";
}

async function dozing(shim: LiveShim): Promise<void> {
  await until("the shim dozes", () => dozes(shim));
}

/** How often it has given up the processor by itself. */
function waitsOf({ pid }: LiveShim): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1]);
}

describe("a dozing shim", () => {
  test(
    "does not wake up by itself, and serves connections, calls and exits",
    async () => {
      await using shim = await LiveShim.start();
      using bundle = shim.bundle({ script: "sleep 1000" });
      const { id } = bundle;
      const pid = await shim.create(bundle);
      await shim.task.start({ id, execId: "" });
      await dozing(shim);
      const before = waitsOf(shim);
      await Bun.sleep(QUIET_MS);
      expect(waitsOf(shim)).toBe(before);
      expect(await shim.task.state({ id, execId: "" })).toMatchObject({ pid });
      await dozing(shim);
      const other = createStub(await shim.connect(), TaskDefinition);
      expect((await other.connect({ id })).shimPid).toBe(shim.pid);
      const waited = other.wait({ id, execId: "" });
      await dozing(shim);
      process.kill(pid, "SIGKILL");
      expect((await waited).exitStatus).toBe(137);
      await shim.task.delete({ id, execId: "" });
      await until("all events are there", () => shim.events.length >= 4);
      expect(shim.events.map(({ topic }) => topic)).toEqual([
        ...["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"],
      ]);
    },
    TIMEOUT_MS,
  );

  test(
    "carries what comes on a terminal and as input",
    async () => {
      await using shim = await LiveShim.start();
      using terminal = shim.bundle({ script: "stty raw -echo; echo ready; cat", terminal: true });
      using echo = shim.bundle({ script: "cat" });
      const paths = Object.fromEntries(
        ["type-in", "type-out", "echo-in", "echo-out"].map((name) => [name, fifo(shim, name)]),
      );
      const [typeIn = "", typeOut = "", echoIn = "", echoOut = ""] = Object.values(paths);
      const typed = drain(typeOut);
      const echoed = drain(echoOut);
      await shim.create(terminal, { terminal: true, stdin: typeIn, stdout: typeOut });
      await shim.create(echo, { stdin: echoIn, stdout: echoOut });
      for (const { id } of [terminal, echo]) await shim.task.start({ id, execId: "" });
      using toTerminal = new FifoWriter(typeIn);
      using toEcho = new FifoWriter(echoIn);
      await dozing(shim);
      await toTerminal.write("typed\n");
      await until("it woke for the terminal", () => !dozes(shim));
      await dozing(shim);
      await toEcho.write("input\n");
      await until("it woke for input", () => !dozes(shim));
      await dozing(shim);
      for (const { id } of [terminal, echo]) await shim.remove(id);
      expect(await typed.text).toContain("typed\n");
      expect(await echoed.text).toBe("input\n");
    },
    TIMEOUT_MS,
  );

  test(
    "heeds SIGUSR1 and lives, heeds SIGTERM and ends",
    async () => {
      await using shim = await LiveShim.start();
      using bundle = shim.bundle({ script: "sleep 1000" });
      const pid = await shim.create(bundle);
      await dozing(shim);
      process.kill(shim.pid, "SIGUSR1");
      await until("it woke", () => !dozes(shim));
      await dozing(shim);
      process.kill(shim.pid, "SIGTERM");
      await until("it has ended", () => !shim.isAlive);
      // Its container runs on: otherwise this throws.
      expect(process.kill(pid, "SIGKILL")).toBe(true);
    },
    TIMEOUT_MS,
  );

  test(
    "can be stopped and continued, and sleeps when it is time to",
    async () => {
      await using shim = await LiveShim.start({ sleepAfterSeconds: 4 });
      using bundle = shim.bundle({ script: "sleep 1000" });
      await shim.create(bundle);
      await dozing(shim);
      process.kill(shim.pid, "SIGSTOP");
      process.kill(shim.pid, "SIGCONT");
      if (Bun.which("cc") === null) await dozing(shim);
      else await until("it sleeps", () => shim.isAsleep);
      expect(await shim.task.state({ id: bundle.id, execId: "" })).toMatchObject({ id: bundle.id });
    },
    TIMEOUT_MS,
  );
});
