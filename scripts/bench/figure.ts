/** Figures: what was measured of each peer, and its statistics. */

import type { GroupName } from "./options.ts";
import type { Peer } from "./peer.ts";

/** For `/s` and `MB/s` more is better, for the others less. */
export type Unit = "ms" | "µs" | "MB/s" | "/s" | "kB" | "MB" | "s/GiB" | "µs/s" | "";

export interface Figure {
  readonly group: GroupName;
  readonly name: string;
  readonly unit: Unit;
  /** By name of the peer, in the order in which they were taken. */
  readonly samples: ReadonlyMap<string, readonly number[]>;
}

export function isMoreBetter({ unit }: Pick<Figure, "unit">): boolean {
  return unit === "MB/s" || unit === "/s";
}

interface GrowingFigure extends Figure {
  readonly samples: Map<string, number[]>;
}

/** The figures of one run, in the order in which they were first seen. */
export class FigureSet {
  readonly #figures = new Map<string, GrowingFigure>();

  /** Adds a sample. */
  add(group: GroupName, name: string, unit: Unit, peer: Peer, sample: number): void {
    const key = `${group}/${name}`;
    let figure = this.#figures.get(key);
    if (figure === undefined) {
      figure = { group, name, unit, samples: new Map() };
      this.#figures.set(key, figure);
    }
    const samples = figure.samples.get(peer.name);
    if (samples === undefined) figure.samples.set(peer.name, [sample]);
    else samples.push(sample);
  }

  list(): readonly Figure[] {
    return [...this.#figures.values()];
  }
}

export interface Summary {
  readonly count: number;
  readonly median: number;
  /** The worse end: 95 of 100 samples were no worse. */
  readonly p95: number;
}

/** Undefined where the peer has no such figure. */
export function summarize(figure: Figure, peerName: string): Summary | undefined {
  const samples = figure.samples.get(peerName);
  if (samples === undefined || samples.length === 0) return undefined;
  const sorted = [...samples].sort((a, b) => a - b);
  const worst = isMoreBetter(figure) ? 0.05 : 0.95;
  return { count: sorted.length, median: quantile(sorted, 0.5), p95: quantile(sorted, worst) };
}

/** Of the medians: what `peerName` takes for each one that `baselineName` takes. */
export function ratioOf(
  figure: Figure,
  peerName: string,
  baselineName: string,
): number | undefined {
  const own = summarize(figure, peerName)?.median;
  const baseline = summarize(figure, baselineName)?.median;
  return own === undefined || !baseline ? undefined : own / baseline;
}

function quantile(sorted: readonly number[], fraction: number): number {
  const at = (sorted.length - 1) * fraction;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

/** A value with as many digits as a person wants to read. */
export function formatValue(value: number, unit: Unit): string {
  const size = Math.abs(value);
  let digits = 0;
  if (size < 1 && size > 0) digits = 2;
  else if (size < 100 && !Number.isInteger(value)) digits = 1;
  return `${value.toFixed(digits).replace(/\B(?=(\d{3})+$)/g, ",")} ${unit}`.trim();
}
