/** Shims for which the time of day jumps, awake and asleep: what they measure is not affected. */

import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { MovableClock } from "../../scripts/chaos/clock.ts";
import { TaskExit } from "../../src/gen/containerd/events/task.ts";
import { WaitRequest } from "../../src/gen/containerd/task/v2/task.ts";
import { buildExecutable } from "../compiled.ts";
import { RawPeer } from "../rpc/ttrpc/raw-peer.ts";
import { LiveShim, until } from "./live-shim.ts";

const TIMEOUT_MS = 240_000;
const HOUR_SECONDS = 3600;
const DAY_SECONDS = 24 * HOUR_SECONDS;
const DEADLINE_EXCEEDED = 4;
/** It falls asleep, wakes and falls asleep within this. */
const CALL_MS = 6000;
/** Two clocks are read one after the other, on a machine that may be busy. */
const SLACK_MS = 30_000;
const canCompile = Bun.which("cc") !== null;

beforeAll(buildExecutable, TIMEOUT_MS);

/** Asks for a container's end, through a connection of its own, as a client that waits for {@link CALL_MS}. */
async function askForEnd(peer: RawPeer, id: string): Promise<void> {
  const payload = WaitRequest.encode({ id, execId: "" }).finish();
  const timeoutNano = BigInt(CALL_MS) * 1_000_000n;
  await peer.request(1, "Wait", payload, { service: "containerd.task.v3.Task", timeoutNano });
}

describe.if(canCompile)("a shim whose clock jumps", () => {
  test(
    "dates by it, and tells all in order and once",
    async () => {
      using clock = MovableClock.open();
      await using shim = await LiveShim.start({ env: clock.variables });
      const ids: string[] = [];
      for (const aheadSeconds of [20 * DAY_SECONDS, -3 * HOUR_SECONDS, 0]) {
        using bundle = shim.bundle({ script: "exit 3" });
        const { id } = bundle;
        ids.push(id);
        await shim.create(bundle);
        clock.moveTo(aheadSeconds);
        await shim.task.start({ id, execId: "" });
        const { exitStatus, exitedAt } = await shim.task.wait({ id, execId: "" });
        const offMs = Number(exitedAt?.seconds) * 1000 - Date.now();
        expect(exitStatus).toBe(3);
        expect(Math.abs(offMs - aheadSeconds * 1000)).toBeLessThan(SLACK_MS);
        await shim.task.delete({ id, execId: "" });
      }
      await until("all events are there", () => shim.events.length >= ids.length * 4);
      expect(shim.events.map(({ topic }) => topic)).toEqual(
        ids.flatMap(() => ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]),
      );
      const exits = shim.events.filter(({ topic }) => topic === "/tasks/exit");
      expect(exits.map(({ value }) => TaskExit.decode(value).containerId)).toEqual(ids);
    },
    TIMEOUT_MS,
  );

  test.each([
    ["back", -DAY_SECONDS],
    ["ahead", DAY_SECONDS],
  ])(
    "%s while it sleeps answers a call at its deadline, and not before",
    async (_direction, aheadSeconds) => {
      using clock = MovableClock.open();
      await using shim = await LiveShim.start({ sleepAfterSeconds: 0.1, env: clock.variables });
      using bundle = shim.bundle({ script: "sleep 1000" });
      const { id } = bundle;
      await shim.create(bundle);
      await shim.task.start({ id, execId: "" });
      const socket = readFileSync(join(bundle.path, "address"), "utf8").replace("unix://", "");
      using peer = await RawPeer.connect(socket);
      const askedAtMs = performance.now();
      await askForEnd(peer, id);
      const answered = peer.response();
      await until("the shim sleeps", () => shim.isAsleep);
      clock.moveTo(aheadSeconds);
      // Wakes it, by a clock that has jumped.
      await shim.task.state({ id, execId: "" });
      await until("the shim sleeps again", () => shim.isAsleep);
      expect(performance.now() - askedAtMs).toBeLessThan(CALL_MS);
      expect(await answered).toMatchObject({ code: DEADLINE_EXCEEDED });
      const tookMs = performance.now() - askedAtMs;
      expect(tookMs).toBeGreaterThanOrEqual(CALL_MS);
      expect(tookMs).toBeLessThan(CALL_MS + SLACK_MS);
      await shim.remove(id);
    },
    TIMEOUT_MS,
  );
});
