/** Lengths of time on the command line. */

import { InvalidArgumentError } from "@commander-js/extra-typings";

const UNITS_MS: ReadonlyMap<string, number> = new Map([
  ["ms", 1],
  ["s", 1000],
  ["m", 60_000],
  ["h", 3_600_000],
]);

/** "500ms", "10s", "2m", "1h"; a bare number is seconds. In milliseconds. */
export function parseDuration(text: string): number {
  const [, number = "", unit = ""] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? [];
  const ms = Number(number) * (UNITS_MS.get(unit || "s") ?? 0);
  if (number === "" || ms === 0) {
    throw new InvalidArgumentError('Give a length of time as "500ms", "10s", "2m" or "1h".');
  }
  return ms;
}
