/** What a shim that leaves at every await point is told, and what it tells: `eager-mover.ts` and its tests. */

/** In the environment of such a shim. */
export const PLAN_VARIABLE = "WEDGE_EAGER_PLAN";

export interface EagerPlan {
  /** At once when it is quiet; while what clients send is held back; as the sleeper. */
  readonly mode: "free" | "held" | "sleep";
  /**
   * What has to happen to a program before it is left: anything, or that a descriptor is ready which it
   * waits for, as a process's when it ends. Without the latter that is mostly found on arrival.
   */
  readonly after: "anything" | "descriptor";
  /**
   * How many quiet await points each program passes by from then on before it is left: a number, or a
   * seed of chance.
   */
  readonly skip: number | { readonly seed: number };
  /** Where it is told the step, and tells what it has met. */
  readonly directory: string;
  /** How often it has been left. */
  readonly exchanges: number;
  /** How often in a row while nobody but the shim itself was at work. */
  readonly alone: number;
}

/** What is told of an exchange, or of a failure to come to one. */
export interface PointRecord {
  /** What a client was about. */
  readonly step: string;
  /** Await points since the last record. */
  readonly looks: number;
  /** Against how many of them something stood, by what it was. */
  readonly refused: Readonly<Record<string, number>>;
  /** The await point that was left at: callbacks of the event loop, and rounds of continuations after it. */
  readonly turn?: number;
  readonly round?: number;
  readonly failure?: string;
}

/** The most that chance passes by: beyond what follows one callback. */
const CHANCE_MAX = 64;

/** Quiet points to pass by in the present program. */
export function skipOf({ skip, exchanges }: EagerPlan): number {
  if (typeof skip === "number") return skip;
  const mixed = Math.imul(skip.seed * 7919 + exchanges + 1, 0x9e3779b1) >>> 0;
  return Math.floor((mixed / 2 ** 32) ** 2 * CHANCE_MAX);
}
