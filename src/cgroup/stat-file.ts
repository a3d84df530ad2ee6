/**
 * Reading and parsing the small text files of a cgroup.
 *
 * All reads are synchronous: cgroupfs and procfs answer from memory, in a few microseconds. Nothing
 * here throws for what a file says; a number that makes no sense counts as 0, because one odd line of
 * one kernel version must not cost the user all other figures.
 */

import { readFileSync } from "node:fs";
import { hasCode } from "../linux/errno.ts";

/** What an unlimited resource reads as where the wire has no word for it. */
export const MAX_UINT64 = 0xffff_ffff_ffff_ffffn;

/** ENODEV: the cgroup went away between open and read. EOPNOTSUPP: the kernel has the file switched off. */
const ABSENT = ["ENOENT", "ENODEV", "ENOTDIR", "ENXIO", "EOPNOTSUPP", "ENOTSUP"];

/** The text of a file, or undefined when there is none (any more). Throws for what else is refused, as EACCES. */
export function readStat(directory: string, name: string): string | undefined {
  try {
    return readFileSync(`${directory}/${name}`, "latin1");
  } catch (error) {
    if (hasCode(error, ...ABSENT)) return undefined;
    throw error;
  }
}

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
  directory: string,
  name: string,
): ReadonlyMap<string, bigint> | undefined {
  const text = readStat(directory, name);
  return text === undefined ? undefined : parseCounters(text);
}

/** Reads {@link parseLimit}; undefined when there is no such file. */
export function readLimit(directory: string, name: string, maximum: bigint): bigint | undefined {
  const text = readStat(directory, name);
  return text === undefined ? undefined : parseLimit(text, maximum);
}
