/** `life`: a container from the start of its shim to the last trace of it, step by step. */

import { BareContainer } from "../bare-runtime.ts";
import { type Bench, takeTurns, timed } from "../bench-run.ts";
import type { Peer } from "../peer.ts";
import { Shim, StreamFifos, startShim } from "../shim.ts";

/** Milliseconds by name of the step, in their order. */
type Steps = ReadonlyMap<string, number>;

const TOTAL = "total";
const CPU = "CPU, all of it";

export async function measureLife(bench: Bench): Promise<void> {
  const { figures } = bench;
  const bareTotals = new Map<number, number>();
  const shimTotals: { round: number; peer: Peer; ms: number }[] = [];
  for await (const { peer, round } of takeTurns(bench, "life")) {
    const cpuBefore = bench.cpu.totalMs(peer);
    const steps =
      peer.kind === "shim" ? await liveInShim(bench, peer) : await liveBare(bench, peer);
    const cpuMs = bench.cpu.totalMs(peer) - cpuBefore;
    if (round === undefined) continue;
    for (const [step, ms] of steps.entries()) figures.add("life", step, "ms", peer, ms);
    const total = sumOf(steps);
    figures.add("life", TOTAL, "ms", peer, total);
    figures.add("life", CPU, "ms", peer, cpuMs);
    if (peer.kind === "runtime") bareTotals.set(round, total);
    else shimTotals.push({ round, peer, ms: total });
  }
  for (const { round, peer, ms } of shimTotals) {
    const added = ms - (bareTotals.get(round) ?? 0);
    figures.add("life", "added to the bare runtime", "ms", peer, added);
  }
}

/** What happens alongside another step does not add to the total. */
const BESIDE: ReadonlySet<string> = new Set(["exit event after Start"]);

function sumOf(steps: Steps): number {
  let sum = 0;
  for (const [step, ms] of steps) if (!BESIDE.has(step)) sum += ms;
  return sum;
}

async function liveInShim(bench: Bench, peer: Peer): Promise<Steps> {
  using bundle = bench.makeBundle(peer, { args: ["true"] });
  using fifos = new StreamFifos(bundle, "init");
  fifos.openReaders();
  const { id } = bundle;
  const steps = new Map<string, number>();
  const step = async <T>(name: string, action: () => Promise<T>): Promise<T> => {
    const { value, ms } = await timed(action);
    steps.set(name, ms);
    return value;
  };
  const address = await step("start command", () => startShim(bench, peer, bundle));
  using shim = await step("connect", () => Shim.connect(bench, peer, bundle, address));
  const { task } = shim;
  await step("Create", () => shim.create(fifos.streams));
  const told = bench.events.exitOf(id);
  await step("Start", () => task.start({ id, execId: "" }));
  const startedAtMs = performance.now();
  await step("exit to Wait", () => task.wait({ id, execId: "" }));
  steps.set("exit event after Start", (await told) - startedAtMs);
  await step("Delete", () => task.delete({ id, execId: "" }));
  await step("Shutdown", () => shim.shutdown());
  await step("delete command", () => shim.runDelete());
  return steps;
}

async function liveBare(bench: Bench, peer: Peer): Promise<Steps> {
  using bundle = bench.makeBundle(peer, { args: ["true"] });
  const container = new BareContainer(bench, peer, bundle);
  const steps = new Map<string, number>();
  steps.set("Create", (await timed(() => container.create())).ms);
  steps.set("Start", (await timed(() => container.start())).ms);
  steps.set("exit to Wait", (await timed(() => container.waitForExit())).ms);
  steps.set("Delete", (await timed(() => container.delete())).ms);
  return steps;
}
