/** `leak`: what a shim holds after many execs and many calls, compared with after a few. */

import { StateRequest } from "../../../src/gen/containerd/task/v2/task.ts";
import type { Bench } from "../bench-run.ts";
import type { Peer } from "../peer.ts";
import { readMemory } from "../process-figures.ts";
import { RawCalls } from "../raw-calls.ts";
import { Shim } from "../shim.ts";

/** Of the execs: what they make the shim hold is warm-up, not a leak. */
const WARM_UP_SHARE = 0.2;
const EXECS_AT_ONCE = 4;
const STATES_PER_EXEC = 10;
const STATES_AT_ONCE = 16;

export async function measureLeak(bench: Bench): Promise<void> {
  for (const peer of bench.shims) await measurePeer(bench, peer);
}

async function measurePeer(bench: Bench, peer: Peer): Promise<void> {
  const { execs, settleMs } = bench.options;
  using bundle = bench.makeBundle(peer, { args: ["sleep", "1000000"] });
  using shim = await Shim.run(bench, peer, bundle);
  const { figures } = bench;
  const settled = async () => {
    await Bun.sleep(settleMs);
    return readMemory(shim.pid).privateKb;
  };
  const idleKb = await settled();
  const warmUps = Math.ceil(execs * WARM_UP_SHARE);
  await runExecs(shim, 0, warmUps);
  const warmKb = await settled();
  await runExecs(shim, warmUps, execs);
  const afterExecsKb = await settled();
  bench.say(`leak: ${peer.name} has run ${execs} execs`);
  using calls = new RawCalls(shim.address.path);
  const call = {
    service: `containerd.task.v${shim.address.version >= 3 ? 3 : 2}.Task`,
    method: "State",
    payload: StateRequest.encode({ id: shim.id, execId: "" }).finish(),
  };
  calls.run(call, { count: execs * STATES_PER_EXEC, atOnce: STATES_AT_ONCE });
  const afterStatesKb = await settled();
  const add = (name: string, kb: number) => figures.add("leak", name, "kB", peer, kb);
  add("private before any exec", idleKb);
  add(`private after ${warmUps} execs`, warmKb);
  add(`private after ${execs} execs`, afterExecsKb);
  add(`private after ${execs * STATES_PER_EXEC} States more`, afterStatesKb);
  await shim.end();
}

async function runExecs(shim: Shim, from: number, to: number): Promise<void> {
  let next = from;
  const run = async () => {
    while (next < to) await shim.execToEnd(`exec-${next++}`, ["true"]);
  };
  await Promise.all(Array.from({ length: EXECS_AT_ONCE }, run));
}
