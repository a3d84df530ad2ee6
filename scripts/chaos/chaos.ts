/** Rounds of lives and faults over one private containerd, and what must hold after each. */

import { rmdirSync } from "node:fs";
import { Containerd } from "../../test/e2e/containerd.ts";
import { expectNothingLeft, type Snapshot, snapshot } from "../../test/e2e/leaks.ts";
import { poll } from "../../test/e2e/poll.ts";
import type { ContainerdVersion } from "../debian-programs.ts";
import { MovableClock } from "./clock.ts";
import { type Expectation, judgeEvents } from "./event-order.ts";
import { EventWatch } from "./event-watch.ts";
import { inflict } from "./fault.ts";
import { type Excuses, execIdOf, type LifeResult, live, prepare } from "./life.ts";
import {
  describeRound,
  type FaultKind,
  type JumpPlan,
  type LifePlan,
  type Outlet,
  planRound,
  type RoundPlan,
} from "./plan.ts";

const WEDGE = "io.containerd.wedge.v2";

export interface ChaosOptions {
  readonly version: ContainerdVersion;
  readonly seed: number;
  /** The number of the first round. */
  readonly from?: number;
  /** As for `ctr run --runtime`: the stock shim's, to tell its faults from ours. */
  readonly runtime?: string;
  /** More variables of containerd's environment, which shims inherit. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Asked before each round. */
  readonly goesOn: (round: number) => boolean;
  readonly say: (line: string) => void;
  /** While the daemon and its log are still there. */
  readonly onFailure?: (daemon: Containerd) => void;
}

export interface ChaosResult {
  readonly rounds: number;
  readonly started: number;
  readonly refused: number;
  /** How many events were dated by a clock that had jumped far. */
  readonly misdated: number;
  readonly violations: readonly string[];
}

/** Which outputs may be cut short by a fault. */
const LOSES_OUTPUT: Readonly<Partial<Record<FaultKind, readonly Outlet[]>>> = {
  "kill reader": ["fifo", "terminal"],
  "kill logger": ["logger"],
  "fill disk": ["file", "logger"],
};
/** A runtime process may end where nobody foresees it. */
const CUTS_RUNTIME: readonly FaultKind[] = ["kill runtime", "take pids"];
/** A shim that containerd forgot before it asked for anything ends by itself after two minutes. */
const LEFT_LIMIT_MS = 160_000;
/** Events come some seconds after a restart of containerd; the machine may be busy. */
const EVENTS_LIMIT_MS = 30_000;
/** No event takes that long to come, and most jumps are longer. */
const MISDATED_MS = 10 * 60_000;

/** Runs rounds while `goesOn`. Rejects when the machine cannot run the daemon. */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const { version, seed, from = 0, variables = {}, goesOn, say } = options;
  using clock = MovableClock.open();
  await using daemon = await Containerd.start({
    version,
    variables: { ...variables, ...clock.variables },
  });
  prepare(daemon);
  await using watch = await EventWatch.open(daemon);
  const world = { daemon, watch, clock, before: snapshot(daemon) };
  const violations: string[] = [];
  let rounds = 0;
  let started = 0;
  let refused = 0;
  let misdated = 0;
  for (; goesOn(rounds) && violations.length === 0; rounds++) {
    const plan = planRound(seed, from + rounds);
    say(describeRound(plan));
    const outcome = await runRound(world, plan, options.runtime ?? WEDGE);
    const { results, faults } = outcome;
    started += results.filter(({ wasStarted }) => wasStarted).length;
    refused += results.filter(({ wasStarted }) => !wasStarted).length;
    misdated += outcome.misdated;
    violations.push(...faults.map((fault) => `round ${plan.number}: ${fault}`));
    if (faults.length > 0) options.onFailure?.(daemon);
  }
  return { rounds, started, refused, misdated, violations };
}

interface World {
  readonly daemon: Containerd;
  readonly watch: EventWatch;
  readonly clock: MovableClock;
  readonly before: Snapshot;
}

interface Outcome {
  readonly results: readonly LifeResult[];
  readonly faults: readonly string[];
  readonly misdated: number;
}

async function runRound(world: World, plan: RoundPlan, runtime: string): Promise<Outcome> {
  const { daemon, watch, clock, before } = world;
  clock.moveTo(0);
  await watch.beginAnew();
  const lives = plan.lives.map((life) => live(daemon, runtime, life, excuse(plan, life)));
  const suffered = Promise.all([suffer(daemon, plan.faults), jump(clock, plan.jumps)]);
  const settled = await Promise.allSettled(lives);
  const faults: string[] = [];
  await suffered.catch((error: unknown) => faults.push(String(error)));
  const results: LifeResult[] = [];
  const kills = plan.faults.filter(({ kind }) => kind === "kill containerd").length;
  const expected = settled.flatMap((outcome, place) => {
    const life = plan.lives[place];
    if (outcome.status === "rejected") faults.push(String(outcome.reason));
    if (outcome.status === "rejected" || life === undefined) return [];
    results.push(outcome.value);
    faults.push(...outcome.value.faults);
    return [toExpectation(life, outcome.value, kills)];
  });
  faults.push(...(await judgeWhenTold(watch, expected)));
  if (plan.faults.some(({ kind }) => CUTS_RUNTIME.includes(kind))) removeStrandedCgroups(daemon);
  const misdated = watch.seen().filter(({ atMs }) => Math.abs(atMs - Date.now()) > MISDATED_MS);
  // What `ctr` leaves of failed calls is its own.
  await daemon.removeClientFifos();
  const left = expectNothingLeft(daemon, before, LEFT_LIMIT_MS);
  await left.catch((error: unknown) => faults.push(String(error)));
  return { results, faults, misdated: misdated.length };
}

function excuse({ faults }: RoundPlan, { outlet }: LifePlan): Excuses {
  return {
    mayLoseOutput: faults.some(({ kind }) => LOSES_OUTPUT[kind]?.includes(outlet)),
    mayLoseAnswer: faults.some(({ kind }) => kind === "kill containerd"),
  };
}

function toExpectation(plan: LifePlan, { wasStarted }: LifeResult, kills: number): Expectation {
  const codes = plan.execs.map((exec, place) => [execIdOf(place), exec.exitCode] as const);
  const { name: id, exitCode } = plan;
  return { id, wasStarted, exitCode, execCodes: new Map(codes), kills };
}

/** What is wrong with the events, once they have had the time to come. */
async function judgeWhenTold(
  watch: EventWatch,
  expected: readonly Expectation[],
): Promise<readonly string[]> {
  let faults: readonly string[] = [];
  const isFine = () => {
    const seen = watch.seen();
    faults = expected.flatMap((each) => judgeEvents(seen, each));
    return faults.length === 0;
  };
  await poll("the events are told", isFine, { limitMs: EVENTS_LIMIT_MS }).catch(() => {});
  return faults;
}

/**
 * A runc that is killed before it has recorded its state leaves the cgroup that it had created, and nobody
 * knows of it: `runc delete` finds no container. Only a cgroup in which nothing runs can be removed, so the
 * others are found.
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
async function suffer(daemon: Containerd, faults: RoundPlan["faults"]): Promise<void> {
  const startMs = performance.now();
  for (const fault of faults) {
    await Bun.sleep(Math.max(0, fault.atMs - (performance.now() - startMs)));
    await inflict(daemon, fault);
  }
}

/** Alongside all faults: a jump takes no time, and what faults do does not depend on the time of day. */
async function jump(clock: MovableClock, jumps: readonly JumpPlan[]): Promise<void> {
  const startMs = performance.now();
  for (const { atMs, bySeconds } of jumps) {
    await Bun.sleep(Math.max(0, atMs - (performance.now() - startMs)));
    clock.moveTo(bySeconds === undefined ? 0 : clock.aheadSeconds + bySeconds);
  }
}
