/** `kill`: signals, the end by SIGKILL, and the `delete` command after a shim has crashed. */

import { BareContainer } from "../bare-runtime.ts";
import { type Bench, takeTurns, timed } from "../bench-run.ts";
import type { Peer } from "../peer.ts";
import { Shim } from "../shim.ts";

const SIGKILL = 9;
/** Changes nothing for a running process. */
const SIGCONT = 18;
const SIGNALS_PER_ROUND = 5;
const BUNDLE = { args: ["sleep", "1000000"] };

/** Names of the figures. */
const SIGNAL = "Kill (SIGCONT)";
const DEATH = "Kill (SIGKILL) to Wait";
const CRASH = "delete command after a crash";

type Add = (name: string, ms: number) => void;

export async function measureKill(bench: Bench): Promise<void> {
  const rounds = Math.max(1, Math.round(bench.options.rounds / 2));
  for await (const { peer, round } of takeTurns(bench, "kill", { rounds })) {
    const add: Add = (name, ms) => {
      if (round !== undefined) bench.figures.add("kill", name, "ms", peer, ms);
    };
    if (peer.kind === "runtime") {
      await killBare(bench, peer, add);
    } else {
      await killInShim(bench, peer, add);
      await crash(bench, peer, add);
    }
  }
}

async function killInShim(bench: Bench, peer: Peer, add: Add): Promise<void> {
  using bundle = bench.makeBundle(peer, BUNDLE);
  using shim = await Shim.run(bench, peer, bundle);
  const { id, task } = shim;
  const kill = (signal: number) => task.kill({ id, execId: "", signal, all: false });
  for (let count = 0; count < SIGNALS_PER_ROUND; count++) {
    add(SIGNAL, (await timed(() => kill(SIGCONT))).ms);
  }
  const ended = task.wait({ id, execId: "" });
  const { ms } = await timed(async () => {
    await kill(SIGKILL);
    await ended;
  });
  add(DEATH, ms);
  await shim.end();
}

async function crash(bench: Bench, peer: Peer, add: Add): Promise<void> {
  using bundle = bench.makeBundle(peer, BUNDLE);
  using shim = await Shim.run(bench, peer, bundle);
  shim.crash();
  add(CRASH, (await timed(() => shim.runDelete())).ms);
}

async function killBare(bench: Bench, peer: Peer, add: Add): Promise<void> {
  for (const name of [DEATH, CRASH]) {
    using bundle = bench.makeBundle(peer, BUNDLE);
    const container = new BareContainer(bench, peer, bundle);
    await container.create();
    await container.start();
    if (name === CRASH) {
      add(name, (await timed(() => container.delete(true))).ms);
      continue;
    }
    add(SIGNAL, (await timed(() => container.kill("CONT"))).ms);
    const { ms } = await timed(async () => {
      await container.kill("KILL");
      container.waitForExit();
    });
    add(name, ms);
    await container.delete(true);
  }
}
