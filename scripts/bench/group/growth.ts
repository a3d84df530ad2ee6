/** `growth`: whether a shim, or a container in a pod, costs more the more of them there are. */

import type { Bench } from "../bench-run.ts";
import { timed } from "../bench-run.ts";
import { Herd } from "../herd.ts";
import type { Peer } from "../peer.ts";
import { readMemory } from "../process-figures.ts";

const PROBES_MAX = 20;

export async function measureGrowth(bench: Bench): Promise<void> {
  for (const peer of bench.shims) {
    await measureHerd(bench, peer, bench.options.shimCounts, false);
    await measureHerd(bench, peer, bench.options.podCounts, true);
  }
}

async function measureHerd(
  bench: Bench,
  peer: Peer,
  counts: readonly number[],
  isPod: boolean,
): Promise<void> {
  await using herd = new Herd(bench, peer, { isPod });
  const where = isPod ? "in a pod" : "alone";
  for (const count of counts) {
    const before = herd.shims.length;
    const { ms } = await timed(() => herd.growTo(count));
    await Bun.sleep(bench.options.settleMs);
    const name = (text: string) => `${text}, ${count} ${where}`;
    const add = (text: string, sample: number) =>
      bench.figures.add("growth", name(text), "kB", peer, sample);
    const pss = herd.pids.reduce((sum, pid) => sum + readMemory(pid).pssKb, 0);
    const own = herd.pids.reduce((sum, pid) => sum + readMemory(pid).privateKb, 0);
    add("PSS per container", pss / count);
    add("private per container", own / count);
    bench.figures.add("growth", name("start of each"), "ms", peer, ms / (count - before));
    await probe(bench, peer, herd, name);
    bench.say(`growth: ${peer.name}, ${count} ${where}`);
  }
}

/** State and an exec of the newest container. */
async function probe(
  { figures, options }: Bench,
  peer: Peer,
  herd: Herd,
  name: (text: string) => string,
): Promise<void> {
  const shim = herd.shims.at(-1);
  if (shim === undefined) return;
  const probes = Math.min(PROBES_MAX, options.rounds);
  for (let count = 0; count < probes; count++) {
    const state = await timed(() => shim.task.state({ id: shim.id, execId: "" }));
    figures.add("growth", name("State"), "ms", peer, state.ms);
    const execId = `${herd.shims.length}-${count}`;
    const exec = await timed(() => shim.execToEnd(execId, ["true"]));
    figures.add("growth", name("exec"), "ms", peer, exec.ms);
  }
}
