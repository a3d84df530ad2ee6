/**
 * A container's life under chance, with the shim's program exchanged at random moments of it: every
 * answer and every event must be what it would have been.
 */

import { beforeAll, describe, expect, test } from "bun:test";
import { TaskExit } from "../../src/gen/containerd/events/task.ts";
import { seededRandom } from "../fake/runtime.ts";
import { buildExecutable, drain, fifo, LiveShim, until } from "./live-shim.ts";

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
