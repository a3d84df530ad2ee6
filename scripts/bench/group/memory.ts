/** `mem`: what idle shims hold, and whether they are idle. */

import type { Bench } from "../bench-run.ts";
import { Herd } from "../herd.ts";
import type { Peer } from "../peer.ts";
import { readMemory, readWakeUps } from "../process-figures.ts";

const IDLE_MS = 5000;
const MICROSECONDS = 1000;

export async function measureMemory(bench: Bench): Promise<void> {
  for (const peer of bench.shims) {
    await using herd = new Herd(bench, peer);
    for (const count of [...bench.options.counts].sort((a, b) => a - b)) {
      await herd.growTo(count);
      await Bun.sleep(bench.options.settleMs);
      addMemory(bench, peer, herd.pids, count);
      bench.say(`mem: ${peer.name} with ${count}`);
    }
    await addIdleness(bench, peer, herd.pids);
  }
}

function addMemory({ figures }: Bench, peer: Peer, pids: readonly number[], count: number): void {
  for (const pid of pids) {
    const { pssKb, rssKb, privateKb, pageTablesKb, threads } = readMemory(pid);
    figures.add("mem", `PSS, ${count} at a time`, "kB", peer, pssKb);
    figures.add("mem", `private, ${count} at a time`, "kB", peer, privateKb);
    figures.add("mem", `RSS, ${count} at a time`, "kB", peer, rssKb);
    figures.add("mem", `page tables, ${count} at a time`, "kB", peer, pageTablesKb);
    figures.add("mem", `threads, ${count} at a time`, "", peer, threads);
  }
}

/** Per shim, with as many as there are. */
async function addIdleness(bench: Bench, peer: Peer, pids: readonly number[]): Promise<void> {
  const wakeUps = () => pids.reduce((sum, pid) => sum + readWakeUps(pid), 0);
  const [cpuBefore, wakeUpsBefore] = [bench.cpu.shimsMs(peer), wakeUps()];
  await Bun.sleep(IDLE_MS);
  const shimSeconds = pids.length * (IDLE_MS / 1000);
  const cpuMs = bench.cpu.shimsMs(peer) - cpuBefore;
  const perSecond = (cpuMs * MICROSECONDS) / shimSeconds;
  bench.figures.add("mem", "CPU of an idle shim", "µs/s", peer, perSecond);
  const woken = (wakeUps() - wakeUpsBefore) / shimSeconds;
  bench.figures.add("mem", "wake-ups of an idle shim in a second", "", peer, woken);
}
