/**
 * A container's life with the shim's program exchanged after each step of it, and under chance at random
 * moments: every answer and every event must be what it would have been.
 */

import { beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { TaskExit } from "../../src/gen/containerd/events/task.ts";
import { buildExecutable } from "../compiled.ts";
import type { Bundle } from "../fake/bundle.ts";
import { seededRandom } from "../fake/runtime.ts";
import { drain, FifoWriter, fifo, LiveShim, until } from "./live-shim.ts";

const TIMEOUT_MS = 240_000;
const LINES = Array.from({ length: 200 }, (_, at) => `${at + 1}\n`).join("");

beforeAll(buildExecutable, TIMEOUT_MS);

/** An exec from its registration to its deletion; everything about it is checked. */
async function liveExec(shim: LiveShim, id: string, execId: string, random: () => number) {
  const status = Math.floor(random() * 100);
  const pauseSeconds = (random() * 0.2).toFixed(2);
  const stdout = fifo(shim, `${execId}-out`);
  const said = drain(stdout);
  const script = `seq 200; sleep ${pauseSeconds}; seq 200; exit ${status}`;
  const pid = await shim.exec(id, execId, ["sh", "-c", script], { stdout });
  const isKilled = random() < 0.3;
  const waited = shim.task.wait({ id, execId });
  if (isKilled) {
    await Bun.sleep(random() * 50);
    await shim.task.kill({ id, execId, signal: 9, all: false }).catch(() => {});
  }
  const { exitStatus } = await waited;
  expect(isKilled ? [status, 137] : [status]).toContain(exitStatus);
  if (exitStatus !== 137) expect(await said.text).toBe(LINES + LINES);
  else expect((LINES + LINES).startsWith(await said.text)).toBe(true);
  expect(await shim.task.delete({ id, execId })).toMatchObject({ pid, exitStatus });
  return { execId, pid, exitStatus };
}

interface Step {
  readonly name: string;
  readonly run: () => Promise<unknown>;
}

/** A life with everything in it that a shim has to remember; each step gives what a client sees of it. */
function stepsOf(shim: LiveShim, bundle: Bundle): readonly Step[] {
  const { task } = shim;
  const { id } = bundle;
  const init = { id, execId: "" };
  const [input, output, screen] = ["in", "out", "screen"].map((name) => fifo(shim, name));
  const streams = { stdin: input ?? "", stdout: output ?? "" };
  const read = drain(output ?? "");
  const shown = drain(screen ?? "");
  let keyboard: FifoWriter | undefined;
  const waits: Promise<{ readonly exitStatus: number }>[] = [];
  const step = (name: string, run: () => Promise<unknown>): Step => ({ name, run });
  const statusOf = async (execId: string) => (await task.state({ id, execId })).status;
  const killed = { signal: 9, all: false };
  return [
    step("create", async () => (await shim.create(bundle)) > 0),
    step("wait", async () => waits.push(task.wait(init))),
    step("start", async () => (await task.start(init)).pid > 0),
    step("state", () => statusOf("")),
    step("exec", () => shim.addExec(id, "e", ["sh", "-c", "cat; exit 7"], streams)),
    step("state of exec", () => statusOf("e")),
    step("wait for exec", async () => waits.push(task.wait({ id, execId: "e" }))),
    step("start exec", async () => (await task.start({ id, execId: "e" })).pid > 0),
    step("type", async () => {
      keyboard = new FifoWriter(input ?? "");
      await keyboard.write("one\n");
    }),
    step("type more", async () => {
      await keyboard?.write("two\n");
      keyboard?.[Symbol.dispose]();
    }),
    step("end of input", () => task.closeIO({ id, execId: "e", stdin: true })),
    step("exit of exec", async () => (await waits[1])?.exitStatus),
    step("output of exec", () => read.text),
    step("delete exec", async () => (await task.delete({ id, execId: "e" })).exitStatus),
    step("terminal", () =>
      shim.addExec(id, "t", ["sh", "-c", "read x; stty size; sleep 1000"], {
        ...{ terminal: true, stdin: fifo(shim, "keys"), stdout: screen ?? "" },
      }),
    ),
    step("start terminal", async () => (await task.start({ id, execId: "t" })).pid > 0),
    step("resize", () => task.resizePty({ id, execId: "t", width: 77, height: 33 })),
    step("enter", async () => {
      using keys = new FifoWriter(join(shim.path, "keys"));
      await keys.write("\n");
      await Bun.sleep(300);
    }),
    step("kill terminal", () => task.kill({ id, execId: "t", ...killed })),
    step("exit of terminal", async () => (await task.wait({ id, execId: "t" })).exitStatus),
    step("delete terminal", async () => (await task.delete({ id, execId: "t" })).exitStatus),
    step("screen", async () => (await shown.text).replaceAll("\r", "")),
    step("pause", () => task.pause({ id })),
    step("state paused", () => statusOf("")),
    step("resume", () => task.resume({ id })),
    step("no such exec", () => task.state({ id, execId: "none" }).catch(String)),
    step("pids", async () => (await task.pids({ id })).processes.length),
    step("stats", async () => (await task.stats({ id })).stats?.typeUrl),
    step("kill", () => task.kill({ ...init, ...killed })),
    step("exit", async () => (await waits[0])?.exitStatus),
    step("state stopped", () => statusOf("")),
    step("delete", async () => (await task.delete(init)).exitStatus),
    step("after delete", () => task.state(init).catch(String)),
  ];
}

/** What clients and the manager have seen of a life with `between` after each of its steps. */
async function transcript(
  sleepAfterSeconds: number,
  between: (shim: LiveShim) => Promise<void>,
): Promise<readonly unknown[]> {
  await using shim = await LiveShim.start({ sleepAfterSeconds });
  using bundle = shim.bundle({ id: "life", script: "sleep 1000" });
  const seen: unknown[] = [];
  for (const { name, run } of stepsOf(shim, bundle)) {
    seen.push([name, await run()]);
    await between(shim);
  }
  await until("the end is told", () => shim.events.at(-1)?.topic === "/tasks/delete");
  return [...seen, ...shim.events.map(({ topic }) => topic)];
}

describe("a life with a handoff after each of its steps", () => {
  test(
    "is the same as one without",
    async () => {
      const plain = await transcript(0, async () => {});
      const upgraded = await transcript(0, async (shim) => {
        await shim.handoff.upgrade({ binary: "" });
      });
      expect(upgraded).toEqual(plain);
      // Where there is no sleeper it is the same life a third time.
      const slept = await transcript(0.02, async (shim) => {
        for (let looks = 0; looks < 20 && !shim.isAsleep; looks++) await Bun.sleep(10);
      });
      expect(slept).toEqual(plain);
    },
    TIMEOUT_MS,
  );
});

describe("a life with handoffs in it", () => {
  test.each([1, 2, 3])(
    "is the same, seed %d",
    async (seed) => {
      const random = seededRandom(seed);
      await using shim = await LiveShim.start({ sleepAfterSeconds: seed % 2 === 0 ? 0.02 : 0 });
      using bundle = shim.bundle({ script: "sleep 1000" });
      const { id } = bundle;
      let isLiving = true;
      let handoffs = 0;
      const exchanging = (async () => {
        while (isLiving) {
          await Bun.sleep(random() * 30);
          await shim.handoff.upgrade({ binary: "" });
          handoffs++;
        }
      })();
      const pid = await shim.create(bundle);
      const waited = shim.task.wait({ id, execId: "" });
      await shim.task.start({ id, execId: "" });
      const ended = await Promise.all(
        Array.from({ length: 5 }, async (_, at) => {
          await Bun.sleep(random() * 300);
          return await liveExec(shim, id, `e${at}`, random);
        }),
      );
      await shim.task.pause({ id });
      expect((await shim.task.state({ id, execId: "" })).status).toBe(4);
      await shim.task.resume({ id });
      await shim.task.kill({ id, execId: "", signal: 9, all: false });
      expect((await waited).exitStatus).toBe(137);
      expect(await shim.task.delete({ id, execId: "" })).toMatchObject({ pid, exitStatus: 137 });
      isLiving = false;
      await exchanging;
      expect(handoffs).toBeGreaterThan(1);
      await until("the end is told", () => shim.events.at(-1)?.topic === "/tasks/delete");
      const exits = shim.events
        .filter(({ topic }) => topic === "/tasks/exit")
        .map(({ value }) => TaskExit.decode(value));
      const told = exits.map(({ id: execId, pid: exited, exitStatus }) => ({
        execId,
        pid: exited,
        exitStatus,
      }));
      expect(told.at(-1)).toEqual({ execId: id, pid, exitStatus: 137 });
      expect(told.slice(0, -1).sort((a, b) => a.execId.localeCompare(b.execId))).toEqual(ended);
    },
    TIMEOUT_MS,
  );
});
