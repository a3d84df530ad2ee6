/** `exec`: another process in a running container, from Exec to its Delete. */

import { BareContainer } from "../bare-runtime.ts";
import { type Bench, takeTurns, timed } from "../bench-run.ts";
import { Shim, StreamFifos } from "../shim.ts";

const PROGRAM = ["true"];

export async function measureExec(bench: Bench): Promise<void> {
  await using end = new AsyncDisposableStack();
  const runs = new Map<string, () => Promise<ReadonlyMap<string, number>>>();
  for (const peer of bench.peers) {
    const bundle = end.use(bench.makeBundle(peer, { args: ["sleep", "1000000"] }));
    if (peer.kind === "runtime") {
      const container = new BareContainer(bench, peer, bundle);
      await container.create();
      await container.start();
      end.defer(() => container.delete(true));
      runs.set(peer.name, async () => {
        return new Map([["total", (await timed(() => container.exec(PROGRAM))).ms]]);
      });
      continue;
    }
    const shim = await Shim.run(bench, peer, bundle);
    end.defer(() => shim.end());
    let count = 0;
    runs.set(peer.name, async () => {
      const execId = `exec-${count++}`;
      using fifos = new StreamFifos(bundle, execId);
      fifos.openReaders();
      return await execOnce(shim, execId, fifos);
    });
  }
  for await (const { peer, round } of takeTurns(bench, "exec")) {
    const cpuBefore = bench.cpu.totalMs(peer);
    const steps = await runs.get(peer.name)?.();
    const cpuMs = bench.cpu.totalMs(peer) - cpuBefore;
    if (round === undefined || steps === undefined) continue;
    for (const [step, ms] of steps) bench.figures.add("exec", step, "ms", peer, ms);
    bench.figures.add("exec", "CPU, all of it", "ms", peer, cpuMs);
  }
}

async function execOnce(
  shim: Shim,
  execId: string,
  { streams }: StreamFifos,
): Promise<ReadonlyMap<string, number>> {
  const { id, task } = shim;
  const steps = new Map<string, number>();
  const step = async (name: string, action: () => Promise<unknown>) => {
    steps.set(name, (await timed(action)).ms);
  };
  await step("Exec", () => shim.exec(execId, PROGRAM, streams));
  await step("Start", () => task.start({ id, execId }));
  await step("exit to Wait", () => task.wait({ id, execId }));
  await step("Delete", () => task.delete({ id, execId }));
  let total = 0;
  for (const ms of steps.values()) total += ms;
  return steps.set("total", total);
}
