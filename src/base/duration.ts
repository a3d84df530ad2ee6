/** Lengths of time as people write them. */

const UNITS_MS: ReadonlyMap<string, number> = new Map([
  ["ms", 1],
  ["s", 1000],
  ["m", 60_000],
  ["h", 3_600_000],
]);

/** "500ms", "10s", "1.5m" or "1h" in milliseconds; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?)([a-z]+)$/.exec(text) ?? [];
  const unitMs = UNITS_MS.get(unit);
  return number === undefined || unitMs === undefined ? undefined : Number(number) * unitMs;
}
