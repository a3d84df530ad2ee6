/** One run of the benchmark, as the groups see it: peers, bundles, meters, and whose turn it is. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { O_NONBLOCK, O_RDWR, openFd } from "../../src/linux/fd.ts";
import { makeFifo } from "../../src/linux/fifo.ts";
import {
  type Bundle,
  type BundleOptions,
  makeBundle,
  makeBusyboxRootfs,
} from "../../test/fake/bundle.ts";
import { CpuMeter } from "./cpu-meter.ts";
import { EventService } from "./event-service.ts";
import { FigureSet } from "./figure.ts";
import type { BenchOptions } from "./options.ts";
import type { Peer } from "./peer.ts";

/** Rounds whose figures are discarded: files are read for the first time, clocks speed up. */
const WARM_UP_ROUNDS = 2;
/** Between two turns. */
const PAUSE_MS = 60;
const LOG_FIFO = "log";
const DIRECTORY = "/run/wedge-bench";
export const NAMESPACE = "bench";

export interface Bench extends AsyncDisposable {
  readonly options: BenchOptions;
  /** Shims, and last the bare runtime. */
  readonly peers: readonly Peer[];
  readonly shims: readonly Peer[];
  readonly figures: FigureSet;
  readonly cpu: CpuMeter;
  readonly events: EventService;
  /** Where the runtimes keep their state. */
  readonly runtimeRoot: string;
  /**
   * A bundle in memory over a shared root filesystem, with a `log` FIFO that is held open, as containerd
   * does it. The caller disposes it.
   */
  makeBundle(peer: Peer, options: BundleOptions): Bundle;
  /** A line on stderr. */
  say(text: string): void;
  /** How long nothing has been printed, in milliseconds. */
  readonly quietMs: number;
}

/** Measures one group and adds its figures to the run. */
export type GroupRun = (bench: Bench) => Promise<void>;

export interface OpenOptions {
  readonly options: BenchOptions;
  readonly peers: readonly Peer[];
  readonly cgroup: string;
}

/** Prepares a run inside an enclosure. */
export function openBench({ options, peers, cgroup }: OpenOptions): Bench {
  const bundles = join(DIRECTORY, "bundles");
  const rootfs = join(DIRECTORY, "rootfs");
  for (const path of [bundles, rootfs]) mkdirSync(path, { recursive: true });
  makeBusyboxRootfs(rootfs);
  const cpu = new CpuMeter(cgroup);
  const events = new EventService(join(DIRECTORY, "events.sock"));
  let count = 0;
  let saidAtMs = performance.now();
  return {
    options,
    peers,
    shims: peers.filter(({ kind }) => kind === "shim"),
    figures: new FigureSet(),
    cpu,
    events,
    runtimeRoot: join(DIRECTORY, "runtime"),
    makeBundle: (peer, own) => {
      count++;
      const id = `${peer.name.replaceAll(".", "-")}-${count}`;
      return withLog(
        makeBundle({
          id,
          parent: bundles,
          rootfs: "empty",
          cgroupsPath: cpu.containerPath(peer, id),
          config: { root: { path: rootfs, readonly: true } },
          ...own,
        }),
      );
    },
    get quietMs() {
      return performance.now() - saidAtMs;
    },
    say: (text) => {
      saidAtMs = performance.now();
      process.stderr.write(`${text}\n`);
    },
    [Symbol.asyncDispose]: async () => events[Symbol.dispose](),
  };
}

function withLog(bundle: Bundle): Bundle {
  using undo = new DisposableStack();
  undo.use(bundle);
  const path = join(bundle.path, LOG_FIFO);
  makeFifo(path, 0o700);
  undo.use(openFd(path, O_RDWR | O_NONBLOCK));
  const owned = undo.move();
  return { ...bundle, [Symbol.dispose]: () => owned.dispose() };
}

export interface Turn {
  readonly peer: Peer;
  /** Undefined in a warm-up, whose figures do not count. */
  readonly round: number | undefined;
}

/**
 * The peers in turn, round by round, every second round in reverse order. Each turn begins when the kernel is
 * done with the one before: with the end of its cgroups, and with the moment in which it moves processes between
 * cgroups without waiting for RCU, from which only a peer that gets there quickly would profit. Prints progress.
 */
export async function* takeTurns(
  bench: Bench,
  group: string,
  {
    peers = bench.peers,
    rounds = bench.options.rounds,
  }: {
    readonly peers?: readonly Peer[];
    readonly rounds?: number;
  } = {},
): AsyncGenerator<Turn> {
  const warmUps = Math.min(WARM_UP_ROUNDS, rounds);
  const step = Math.max(1, Math.round(rounds / 4));
  for (let round = -warmUps; round < rounds; round++) {
    const order = round % 2 === 0 ? peers : [...peers].reverse();
    for (const peer of order) {
      await Bun.sleep(PAUSE_MS);
      yield { peer, round: round < 0 ? undefined : round };
    }
    const done = round + 1;
    if (done > 0 && (done % step === 0 || done === rounds)) {
      bench.say(`${group}: ${done} of ${rounds}`);
    }
  }
}

/** What `action` gives, and how long it took in milliseconds. */
export async function timed<T>(
  action: () => Promise<T> | T,
): Promise<{ readonly value: T; readonly ms: number }> {
  const startedAtMs = performance.now();
  const value = await action();
  return { value, ms: performance.now() - startedAtMs };
}
