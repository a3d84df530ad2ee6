/** What is run and what goes wrong, from a seed alone: the same seed gives the same plan. */

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

/** The time of day is set, and stays so. Faults may overlap it. */
export interface JumpPlan {
  /** After the round began. */
  readonly atMs: number;
  /** Ahead of what it was; negative: back. Undefined: it is right again. */
  readonly bySeconds: number | undefined;
}

export interface RoundPlan {
  readonly number: number;
  readonly lives: readonly LifePlan[];
  /** In the order of their times, as are the jumps. */
  readonly faults: readonly FaultPlan[];
  /** The first starts from a clock that is right. */
  readonly jumps: readonly JumpPlan[];
}

const OUTLETS: readonly Outlet[] = ["file", "logger", "fifo", "terminal"];
const LIVES_MAX = 4;
const FAULTS_MAX = 3;
const EXECS_MAX = 2;
const LINES_MAX = 2000;
const RUN_MS_MAX = 2500;
const FAULT_MS_MAX = 1500;
const JUMPS_MAX = 3;
/** A round lasts longer than what is printed in it. */
const JUMP_AT_MS_MAX = 4000;
const ROUND_FACTOR = 7919;

const SECONDS_PER_HOUR = 3600;
const SECONDS_PER_DAY = 24 * SECONDS_PER_HOUR;
/** By what timers, deadlines and days are made of. */
const JUMPS: readonly ((below: (limit: number) => number) => number)[] = [
  (below) => (1 + below(60)) * (below(2) === 0 ? 1 : -1),
  (below) => -(1 + below(12)) * SECONDS_PER_HOUR,
  (below) => (1 + below(12)) * SECONDS_PER_HOUR,
  (below) => (1 + below(60)) * SECONDS_PER_DAY,
];
const RIGHT_AGAIN = () => undefined;
/** Units for printing jumps: the longest that divides one evenly is used. */
const UNITS: readonly (readonly [string, number])[] = [
  ["d", SECONDS_PER_DAY],
  ["h", SECONDS_PER_HOUR],
];

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
  return { number, lives, faults, jumps: planJumps(below) };
}

function planJumps(below: (limit: number) => number): readonly JumpPlan[] {
  const times = Array.from({ length: 1 + below(JUMPS_MAX) }, () => below(JUMP_AT_MS_MAX));
  return times
    .sort((a, b) => a - b)
    .map((atMs, place) => ({
      atMs,
      bySeconds: pick(place === 0 ? JUMPS : [...JUMPS, RIGHT_AGAIN], below)(below),
    }));
}

/** As it is printed. */
export function describeRound({ number, lives, faults, jumps }: RoundPlan): string {
  const lived = lives.map(({ outlet, lines, exitCode, execs }) => {
    const ended = execs.map((exec) => `${exec.exitCode}${exec.isTerminal ? "t" : ""}`);
    return `${outlet} ${lines} lines exit ${exitCode} execs [${ended.join(" ")}]`;
  });
  const failed = [
    ...faults.map(({ kind, atMs, forMs }) => ({
      atMs,
      text: `${kind} at ${atMs} for ${forMs} ms`,
    })),
    ...jumps.map((jump) => ({ atMs: jump.atMs, text: describeJump(jump) })),
  ];
  const texts = failed.sort((a, b) => a.atMs - b.atMs).map(({ text }) => text);
  return `round ${number}: ${lived.join("; ")} | ${texts.join("; ")}`;
}

function describeJump({ atMs, bySeconds }: JumpPlan): string {
  if (bySeconds === undefined) return `set clock right at ${atMs}`;
  const [unit, seconds] = UNITS.find(([, each]) => bySeconds % each === 0) ?? ["s", 1];
  return `jump clock at ${atMs} by ${bySeconds > 0 ? "+" : ""}${bySeconds / seconds} ${unit}`;
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
