/**
 * `sleep`: what idle containers cost with the default settings, what a call costs that comes after a pause,
 * and what periodic probes cost. In the other groups wedge stays awake.
 */

import { readlinkSync } from "node:fs";
import { type Bench, timed } from "../bench-run.ts";
import { Herd } from "../herd.ts";
import type { Peer } from "../peer.ts";
import { readMemory, readWakeUps } from "../process-figures.ts";
import { Shim } from "../shim.ts";

const SLEEPER = "/memfd:wedge-sleeper";
const SLEEP_LIMIT_MS = 30_000;
const LOOK_MS = 20;
const HOUR_MS = 3_600_000;
const BUNDLE = { args: ["sleep", "1000000"] };
/** Calls after a pause: each waits until the shim sleeps again, longer each time. */
const PAUSES_MAX = 10;
/** For those: a shim that sleeps as soon as it may. */
const HASTY_SECONDS = "0.1";
const PAUSE_MS = 300;
const PROBE_INTERVALS_MS = [1000, 10_000] as const;

export async function measureSleep(bench: Bench): Promise<void> {
  for (const peer of bench.shims) await measureHerd(bench, asUsual(peer));
  for (const peer of bench.shims) await measureCalls(bench, peer);
  // Side by side: most of the time they do nothing.
  for (const intervalMs of PROBE_INTERVALS_MS) {
    await Promise.all(bench.shims.map((peer) => measureProbes(bench, asUsual(peer), intervalMs)));
    bench.say(`sleep: probes each ${intervalMs / 1000} s`);
  }
}

function asUsual(peer: Peer): Peer {
  return { ...peer, env: {} };
}

async function measureHerd(bench: Bench, peer: Peer): Promise<void> {
  await using herd = new Herd(bench, peer);
  for (const count of [...bench.options.shimCounts].sort((a, b) => a - b)) {
    await herd.growTo(count);
    if (hasSleeper(peer)) await untilAsleep(herd.pids);
    else await Bun.sleep(bench.options.settleMs);
    for (const pid of herd.pids) {
      const { pssKb, rssKb, privateKb } = readMemory(pid);
      bench.figures.add("sleep", `PSS, ${count} idle`, "kB", peer, pssKb);
      bench.figures.add("sleep", `RSS, ${count} idle`, "kB", peer, rssKb);
      bench.figures.add("sleep", `private, ${count} idle`, "kB", peer, privateKb);
    }
    bench.say(`sleep: ${peer.name} with ${count}`);
  }
  await measureIdleness(bench, peer, herd.pids);
}

/** Of each of as many as there are. */
async function measureIdleness(bench: Bench, peer: Peer, pids: readonly number[]): Promise<void> {
  const { idleMs } = bench.options;
  const wakeUps = () => pids.reduce((sum, pid) => sum + readWakeUps(pid), 0);
  const [cpuBefore, wakeUpsBefore] = [bench.cpu.shimsMs(peer), wakeUps()];
  await Bun.sleep(idleMs);
  const share = HOUR_MS / idleMs / pids.length;
  const cpuMs = (bench.cpu.shimsMs(peer) - cpuBefore) * share;
  bench.figures.add("sleep", "CPU of an idle container in an hour", "ms", peer, cpuMs);
  const woken = (wakeUps() - wakeUpsBefore) * share;
  bench.figures.add("sleep", "wake-ups of an idle container in an hour", "", peer, woken);
}

/** State of a shim that is asked again at once, and of one that has had a pause: wedge sleeps by then. */
async function measureCalls(bench: Bench, peer: Peer): Promise<void> {
  const hasty = { ...peer, env: { WEDGE_SLEEP_AFTER_SECONDS: HASTY_SECONDS } };
  using bundle = bench.makeBundle(hasty, BUNDLE);
  const shim = await Shim.run(bench, hasty, bundle);
  const state = () => timed(() => shim.task.state({ id: shim.id, execId: "" }));
  for (let count = 0; count < Math.min(PAUSES_MAX, bench.options.rounds); count++) {
    if (hasSleeper(peer)) await untilAsleep([shim.pid]);
    else await Bun.sleep(PAUSE_MS);
    bench.figures.add("sleep", "State after a pause", "ms", peer, (await state()).ms);
    bench.figures.add("sleep", "State right after", "ms", peer, (await state()).ms);
  }
  bench.say(`sleep: ${peer.name}, calls after a pause`);
  await shim.end();
}

/** An exec at this interval, as of a health check. */
async function measureProbes(bench: Bench, peer: Peer, intervalMs: number): Promise<void> {
  using bundle = bench.makeBundle(peer, BUNDLE);
  const shim = await Shim.run(bench, peer, bundle);
  const name = `probe each ${intervalMs / 1000} s`;
  const probes = Math.ceil((bench.options.probes * 1000) / intervalMs) + 1;
  for (let count = 0; count < probes; count++) {
    const endAtMs = performance.now() + intervalMs;
    const cpuBefore = bench.cpu.totalMs(peer);
    const { ms } = await timed(() => shim.execToEnd(`probe-${count}`, ["true"]));
    bench.figures.add("sleep", name, "ms", peer, ms);
    if (count + 1 < probes) await Bun.sleep(endAtMs - performance.now());
    // With what it does until the next one.
    const cpuMs = bench.cpu.totalMs(peer) - cpuBefore;
    bench.figures.add("sleep", `${name}, CPU of each`, "ms", peer, cpuMs);
  }
  await shim.end();
}

function hasSleeper({ name }: Peer): boolean {
  return name === "wedge" && Bun.which("cc") !== null;
}

/** Throws if one is awake after all. */
async function untilAsleep(pids: readonly number[]): Promise<void> {
  const deadline = performance.now() + SLEEP_LIMIT_MS;
  while (!pids.every((pid) => readlinkSync(`/proc/${pid}/exe`).startsWith(SLEEPER))) {
    if (performance.now() > deadline) throw new Error("A shim that is idle does not sleep");
    await Bun.sleep(LOOK_MS);
  }
}
