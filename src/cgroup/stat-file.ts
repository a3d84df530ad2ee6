/**
 * What the small text files of a cgroup say.
 *
 * Nothing here throws for that; a number that makes no sense counts as 0, because one odd line in one
 * kernel version must not cost the user all other figures.
 */

import type { StatDirectory } from "./stat-directory.ts";

/** What an unlimited resource reads as where the wire has no word for it. */
export const MAX_UINT64 = 0xffff_ffff_ffff_ffffn;

/** An unsigned 64-bit number: negative ones and nonsense are 0, larger ones the largest. */
export function parseUint64(text: string): bigint {
  const value = Number(text);
  if (value >= 0 && value <= Number.MAX_SAFE_INTEGER) {
    return Number.isInteger(value) ? BigInt(value) : 0n;
  }
  const digits = text.trim();
  if (!/^\d+$/.test(digits)) return 0n;
  const exact = BigInt(digits);
  return exact > MAX_UINT64 ? MAX_UINT64 : exact;
}

/** A file that holds one number or the word `max`, which stands for `maximum`. */
export function parseLimit(text: string, maximum: bigint): bigint {
  return text.trim() === "max" ? maximum : parseUint64(text);
}

/** Lines of `name value`; others are skipped. */
export function parseCounters(text: string): ReadonlyMap<string, bigint> {
  const counters = new Map<string, bigint>();
  for (const line of text.split("\n")) {
    const space = line.indexOf(" ");
    if (space > 0) counters.set(line.slice(0, space), parseUint64(line.slice(space + 1)));
  }
  return counters;
}

/** Reads {@link parseCounters}; undefined when there is no such file. */
export function readCounters(
  directory: StatDirectory,
  name: string,
): ReadonlyMap<string, bigint> | undefined {
  const text = directory.read(name);
  return text === undefined ? undefined : parseCounters(text);
}

/** Reads {@link parseLimit}; undefined when there is no such file. */
export function readLimit(
  directory: StatDirectory,
  name: string,
  maximum: bigint,
): bigint | undefined {
  const text = directory.read(name);
  return text === undefined ? undefined : parseLimit(text, maximum);
}
