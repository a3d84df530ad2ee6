/** What is lived and what goes wrong, from a seed alone: the same seed gives the same plan. */

export type Outlet = "file" | "logger" | "fifo" | "terminal";

/** One container, and the execs in it. */
export interface LifePlan {
  readonly name: string;
  readonly outlet: Outlet;
  /** Lines that it prints, at a pace that lasts about `runMs`. */
  readonly lines: number;
  readonly runMs: number;
  readonly exitCode: number;
  readonly execs: readonly ExecPlan[];
}

export interface ExecPlan {
  readonly exitCode: number;
  readonly isTerminal: boolean;
}

export const FAULTS = [
  "kill containerd",
  "stop containerd",
  "stop shim",
  "kill runtime",
  "stop runtime",
  "kill reader",
  "kill logger",
  "stop logger",
  "fill disk",
  "take descriptors",
  "take pids",
] as const;
export type FaultKind = (typeof FAULTS)[number];

export interface FaultPlan {
  readonly kind: FaultKind;
  /** After the round began. */
  readonly atMs: number;
  /** How long it lasts, where it lasts. */
  readonly forMs: number;
}

export interface RoundPlan {
  readonly number: number;
  readonly lives: readonly LifePlan[];
  readonly faults: readonly FaultPlan[];
}

const OUTLETS: readonly Outlet[] = ["file", "logger", "fifo", "terminal"];
const LIVES_MAX = 4;
const FAULTS_MAX = 3;
const EXECS_MAX = 2;
const LINES_MAX = 2000;
const RUN_MS_MAX = 2500;
const FAULT_MS_MAX = 1500;
const ROUND_FACTOR = 7919;

/** The plan of round `number`. */
export function planRound(seed: number, number: number): RoundPlan {
  const below = generator(seed * ROUND_FACTOR + number);
  const lives = Array.from({ length: 1 + below(LIVES_MAX) }, (_, index) => ({
    name: `r${number}-${index}`,
    outlet: pick(OUTLETS, below),
    lines: 1 + below(LINES_MAX),
    runMs: below(RUN_MS_MAX),
    exitCode: below(120),
    execs: Array.from({ length: below(EXECS_MAX + 1) }, () => ({
      exitCode: below(120),
      isTerminal: below(2) === 0,
    })),
  }));
  const faults = Array.from({ length: 1 + below(FAULTS_MAX) }, () => ({
    kind: pick(FAULTS, below),
    atMs: below(RUN_MS_MAX),
    forMs: 100 + below(FAULT_MS_MAX),
  })).sort((a, b) => a.atMs - b.atMs);
  return { number, lives, faults };
}

/** As it is printed. */
export function describeRound({ number, lives, faults }: RoundPlan): string {
  const lived = lives.map(({ outlet, lines, exitCode, execs }) => {
    const ended = execs.map((exec) => `${exec.exitCode}${exec.isTerminal ? "t" : ""}`);
    return `${outlet} ${lines} lines exit ${exitCode} execs [${ended.join(" ")}]`;
  });
  const failed = faults.map((fault) => `${fault.kind} at ${fault.atMs} for ${fault.forMs} ms`);
  return `round ${number}: ${lived.join("; ")} | ${failed.join("; ")}`;
}

function pick<T>(from: readonly T[], below: (limit: number) => number): T {
  const picked = from[below(from.length)];
  if (picked === undefined) throw new Error("There is nothing to pick from");
  return picked;
}

/** Numbers below a limit, by a 32-bit mix of a counter. */
function generator(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) % limit;
  };
}
