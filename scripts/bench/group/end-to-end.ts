/** `e2e`: through a real containerd, as a person at a terminal experiences it. */

import { symlinkSync } from "node:fs";
import { messageOf } from "../../../src/base/error.ts";
import { Containerd, IMAGE } from "../../../test/e2e/containerd.ts";
import { containerdVersions } from "../../debian-programs.ts";
import { type Bench, takeTurns, timed } from "../bench-run.ts";
import type { Peer } from "../peer.ts";

const BURST_ROUNDS_MAX = 5;

export async function measureEndToEnd(bench: Bench): Promise<void> {
  const [version] = containerdVersions();
  if (version === undefined) throw new Error("No containerd is installed: run npm run setup");
  await using daemon = await Containerd.start({ version });
  const runtime = bench.peers.find(({ kind }) => kind === "runtime");
  // By this name every shim looks up its runtime, unless told another; its PATH begins here.
  if (runtime !== undefined) symlinkSync(runtime.path, daemon.outside("bin/runc"));
  const peers: Peer[] = [];
  for (const peer of bench.shims) {
    symlinkSync(peer.path, daemon.outside("bin", `containerd-shim-bench-${peer.name}-v2`));
    if (await works(bench, daemon, peer)) peers.push(peer);
  }
  let count = 0;
  const runOne = async (peer: Peer) => {
    const id = `run-${count++}`;
    await daemon.ctr("run", "--rm", "--runtime", runtimeOf(peer), IMAGE, id, "true");
  };
  for await (const { peer, round } of takeTurns(bench, "e2e, ctr run", { peers })) {
    const { ms } = await timed(() => runOne(peer));
    if (round !== undefined) bench.figures.add("e2e", "ctr run --rm true", "ms", peer, ms);
  }
  const rounds = Math.min(BURST_ROUNDS_MAX, bench.options.rounds);
  for (const size of bench.options.bursts) {
    for await (const { peer, round } of takeTurns(bench, `e2e, ${size} at once`, {
      peers,
      rounds,
    })) {
      const burst = () => Promise.all(Array.from({ length: size }, () => runOne(peer)));
      const { ms } = await timed(burst);
      if (round !== undefined) bench.figures.add("e2e", `${size} at once`, "ms", peer, ms);
    }
  }
}

function runtimeOf(peer: Peer): string {
  return `io.containerd.bench-${peer.name}.v2`;
}

/** A shim may be for a containerd other than the installed one. */
async function works({ say }: Bench, daemon: Containerd, peer: Peer): Promise<boolean> {
  const id = `try-${peer.name}`;
  try {
    await daemon.ctr("run", "--rm", "--runtime", runtimeOf(peer), IMAGE, id, "true");
    return true;
  } catch (error) {
    const [reason = ""] = messageOf(error)
      .split("\n")
      .filter((line) => line.includes("ctr: "));
    say(`e2e: without ${peer.name}, which does not work here. ${reason}`);
    await daemon.call(["container", "rm", id]);
    return false;
  }
}
