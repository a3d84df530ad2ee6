/** Rounds of lives and faults over one private containerd, and what must hold after each. */

import { rmdirSync } from "node:fs";
import { Containerd } from "../../test/e2e/containerd.ts";
import { expectNothingLeft, snapshot } from "../../test/e2e/leaks.ts";
import type { ContainerdVersion } from "../debian-programs.ts";
import { inflict } from "./fault.ts";
import { live, prepare } from "./life.ts";
import { describeRound, type FaultKind, planRound } from "./plan.ts";

export interface ChaosOptions {
  readonly version: ContainerdVersion;
  readonly seed: number;
  /** The number of the first round. */
  readonly from?: number;
  /** As `ctr run --runtime` takes it: the stock shim's, to tell its faults from ours. */
  readonly runtime?: string;
  /** Asked before each round. */
  readonly goesOn: (round: number) => boolean;
  readonly say: (line: string) => void;
}

export interface ChaosResult {
  readonly rounds: number;
  readonly started: number;
  readonly refused: number;
  readonly violations: readonly string[];
}

const LOSES_OUTPUT: readonly FaultKind[] = ["kill reader", "fill disk"];

/** Runs rounds while `goesOn`. Rejects when the machine cannot have the daemon. */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const { version, seed, from = 0, runtime = "io.containerd.wedge.v2", goesOn, say } = options;
  await using daemon = await Containerd.start({ version });
  prepare(daemon);
  const before = snapshot(daemon);
  const violations: string[] = [];
  let rounds = 0;
  let started = 0;
  let refused = 0;
  for (; goesOn(rounds); rounds++) {
    const plan = planRound(seed, from + rounds);
    say(describeRound(plan));
    const mayLoseOutput = plan.faults.some(({ kind }) => LOSES_OUTPUT.includes(kind));
    const lives = plan.lives.map((life) => live(daemon, runtime, life, mayLoseOutput));
    const results = await Promise.allSettled([...lives, suffer(daemon, plan.faults)]);
    for (const result of results) {
      if (result.status === "rejected") violations.push(`round ${plan.number}: ${result.reason}`);
      else if (result.value !== undefined) {
        if (result.value.wasStarted) started += 1;
        else refused += 1;
        violations.push(...result.value.faults.map((fault) => `round ${plan.number}: ${fault}`));
      }
    }
    if (plan.faults.some(({ kind }) => kind === "kill runtime")) removeStrandedCgroups(daemon);
    // What `ctr` leaves of calls that failed is its own.
    await daemon.removeClientFifos();
    await expectNothingLeft(daemon, before).catch((error: unknown) => {
      violations.push(`round ${plan.number}: ${error}`);
    });
    if (violations.length > 0) break;
  }
  return { rounds, started, refused, violations };
}

/**
 * A runc that is killed before it has noted its state leaves the cgroup that it had made, and nobody knows
 * of it: `runc delete` finds no container. Only one in which nothing runs can be removed, and the others
 * are found.
 */
function removeStrandedCgroups(daemon: Containerd): void {
  for (const cgroup of daemon.sandbox.cgroups().reverse()) {
    try {
      rmdirSync(cgroup);
    } catch {
      // Something runs in it, or it has gone.
    }
  }
}

/** One fault after another, at their times: two at once could undo each other. */
async function suffer(
  daemon: Containerd,
  faults: ReturnType<typeof planRound>["faults"],
): Promise<undefined> {
  const startMs = performance.now();
  for (const fault of faults) {
    await Bun.sleep(Math.max(0, fault.atMs - (performance.now() - startMs)));
    await inflict(daemon, fault);
  }
  return undefined;
}
