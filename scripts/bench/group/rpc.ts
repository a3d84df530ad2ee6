/** `rpc`: what answers about a running container take, one at a time and many at once. */

import {
  PidsRequest,
  StateRequest,
  StatsRequest,
} from "../../../src/gen/containerd/task/v2/task.ts";
import { BareContainer } from "../bare-runtime.ts";
import { type Bench, takeTurns } from "../bench-run.ts";
import type { Peer } from "../peer.ts";
import { type RawCall, RawCalls } from "../raw-calls.ts";
import { Shim } from "../shim.ts";

const BUNDLE = { args: ["sleep", "1000000"] };
const AT_ONCE = 16;
/** Calls of a burst; those that may cost a runtime process are few. */
const SERIAL_CALLS = 1000;
const CONCURRENT_CALLS = 4000;
const FEW_CALLS = 20;
const MICROSECONDS = 1000;

export async function measureRpc(bench: Bench): Promise<void> {
  await using end = new AsyncDisposableStack();
  const clients = new Map<string, { readonly shim: Shim; readonly calls: RawCalls }>();
  for (const peer of bench.shims) {
    const bundle = end.use(bench.makeBundle(peer, BUNDLE));
    const shim = await Shim.run(bench, peer, bundle);
    end.defer(() => shim.end());
    clients.set(peer.name, { shim, calls: end.use(new RawCalls(shim.address.path)) });
  }
  for await (const { peer, round } of takeTurns(bench, "rpc", { peers: bench.shims })) {
    const client = clients.get(peer.name);
    if (client === undefined) continue;
    measureOnce(bench, peer, client.shim, client.calls, round !== undefined);
    // Blocking calls leave no time for the events of the shims.
    await Bun.sleep(1);
  }
  await measureBare(bench);
}

function measureOnce(
  { figures, cpu }: Bench,
  peer: Peer,
  shim: Shim,
  calls: RawCalls,
  counts: boolean,
): void {
  const { id } = shim;
  const service = `containerd.task.v${shim.address.version >= 3 ? 3 : 2}.Task`;
  const state = {
    service,
    method: "State",
    payload: StateRequest.encode({ id, execId: "" }).finish(),
  };
  const pids = { service, method: "Pids", payload: PidsRequest.encode({ id }).finish() };
  const stats = { service, method: "Stats", payload: StatsRequest.encode({ id }).finish() };
  const burst = (name: string, call: RawCall, count: number) => {
    const cpuBefore = cpu.totalMs(peer);
    const ms = calls.run(call, { count, atOnce: 1 });
    const cpuMs = cpu.totalMs(peer) - cpuBefore;
    if (!counts) return;
    figures.add("rpc", name, "µs", peer, (ms / count) * MICROSECONDS);
    figures.add("rpc", `${name}, CPU per call`, "µs", peer, (cpuMs / count) * MICROSECONDS);
  };
  burst("State", state, SERIAL_CALLS);
  burst("Stats", stats, FEW_CALLS * 5);
  burst("Pids", pids, FEW_CALLS);
  const serialMs = calls.run(state, { count: SERIAL_CALLS, atOnce: 1 });
  const concurrentMs = calls.run(state, { count: CONCURRENT_CALLS, atOnce: AT_ONCE });
  if (!counts) return;
  figures.add("rpc", "State, serial rate", "/s", peer, (SERIAL_CALLS * 1000) / serialMs);
  figures.add(
    "rpc",
    `State, ${AT_ONCE} at once`,
    "/s",
    peer,
    (CONCURRENT_CALLS * 1000) / concurrentMs,
  );
}

/** What a process for each answer takes. */
async function measureBare(bench: Bench): Promise<void> {
  const peer = bench.peers.find(({ kind }) => kind === "runtime");
  if (peer === undefined) return;
  using bundle = bench.makeBundle(peer, BUNDLE);
  const container = new BareContainer(bench, peer, bundle);
  await container.create();
  await container.start();
  for (let count = 0; count < FEW_CALLS; count++) {
    const startedAtMs = performance.now();
    await container.pids();
    const ms = performance.now() - startedAtMs;
    bench.figures.add("rpc", "Pids", "µs", peer, ms * MICROSECONDS);
  }
  await container.delete(true);
}
