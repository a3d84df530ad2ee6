/** Pressure stall information (the kernel's Documentation/accounting/psi.rst). */

import type { StatDirectory } from "../stat-directory.ts";
import { parseUint64 } from "../stat-file.ts";

/** Shares of time in percent over the last 10, 60 and 300 seconds; the total in microseconds. */
export interface PressureData {
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
  readonly total: bigint;
}

export interface PressureStats {
  /** At least one task waited. */
  readonly some: PressureData | undefined;
  /** All tasks waited. */
  readonly full: PressureData | undefined;
}

/** Undefined where the kernel keeps none, or has it disabled. */
export function readPressure(directory: StatDirectory, name: string): PressureStats | undefined {
  const text = directory.read(name);
  return text === undefined ? undefined : parsePressure(text);
}

/** Lines of `some|full avg10=… avg60=… avg300=… total=…`. */
export function parsePressure(text: string): PressureStats {
  let some: PressureData | undefined;
  let full: PressureData | undefined;
  for (const line of text.split("\n")) {
    const [kind, ...pairs] = line.split(" ");
    if (kind === "some") some = parseData(pairs);
    if (kind === "full") full = parseData(pairs);
  }
  return { some, full };
}

function parseData(pairs: readonly string[]): PressureData {
  const values = new Map<string, string>();
  for (const pair of pairs) {
    const equals = pair.indexOf("=");
    values.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  const average = (name: string): number => {
    const value = Number(values.get(name));
    return Number.isFinite(value) ? value : 0;
  };
  return {
    avg10: average("avg10"),
    avg60: average("avg60"),
    avg300: average("avg300"),
    total: parseUint64(values.get("total") ?? ""),
  };
}
