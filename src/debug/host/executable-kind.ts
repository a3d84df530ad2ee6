/** Which kind of shim it is, by its executable: wedge may have the stock shim's name, and others its own. */

import { closeSync, openSync, readSync, statSync } from "node:fs";
import { basename } from "node:path";
import { executableName } from "../../version.ts";

export type ShimKind = "wedge" | "go" | "other";

/** Offsets in the header and the section headers of a 64-bit little-endian ELF file (elf(5)). */
const ELF_HEADER_BYTES = 64;
const SECTION_TABLE_OFFSET = 40;
const SECTION_SIZE_OFFSET = 58;
const SECTION_COUNT_OFFSET = 60;
const NAME_SECTION_OFFSET = 62;
const SECTION_FILE_OFFSET = 24;
const SECTION_BYTES_OFFSET = 32;
const NAMES_BYTES_MAX = 65_536;

/** The program that a sleeping shim runs, as a file or in memory. */
const SLEEPER_NAME = /\/(memfd:)?wedge-sleep[^/]*$/;

/** By device and inode: all shims of a host run the same few files. */
const known = new Map<string, ShimKind>();

/** What was found out about an executable. */
export interface Recognized {
  readonly kind: ShimKind;
  /** It is what a wedge shim executes while it sleeps. */
  readonly isAsleep: boolean;
}

/** `path` is the executable or a /proc link to it; `name` is what it is called. */
export function recognize(path: string, name: string): Recognized {
  if (basename(name).startsWith(executableName)) return { kind: "wedge", isAsleep: false };
  if (SLEEPER_NAME.test(name)) return { kind: "wedge", isAsleep: true };
  try {
    const { dev, ino } = statSync(path);
    const key = `${dev}:${ino}`;
    const kind = known.get(key) ?? kindOfSections(sectionNames(path));
    known.set(key, kind);
    return { kind, isAsleep: false };
  } catch {
    return { kind: "other", isAsleep: false }; // Ended meanwhile, another user's, or not an ELF file.
  }
}

function kindOfSections(names: readonly string[]): ShimKind {
  if (names.includes(".bun")) return "wedge";
  return names.includes(".go.buildinfo") ? "go" : "other";
}

function sectionNames(path: string): readonly string[] {
  const fd = openSync(path, "r");
  try {
    const header = readAt(fd, 0, ELF_HEADER_BYTES);
    const size = header.readUInt16LE(SECTION_SIZE_OFFSET);
    const table = readAt(
      fd,
      Number(header.readBigUInt64LE(SECTION_TABLE_OFFSET)),
      size * header.readUInt16LE(SECTION_COUNT_OFFSET),
    );
    const names = table.subarray(size * header.readUInt16LE(NAME_SECTION_OFFSET));
    const bytes = Number(names.readBigUInt64LE(SECTION_BYTES_OFFSET));
    const text = readAt(
      fd,
      Number(names.readBigUInt64LE(SECTION_FILE_OFFSET)),
      Math.min(bytes, NAMES_BYTES_MAX),
    );
    return text.toString("latin1").split("\0");
  } finally {
    closeSync(fd);
  }
}

function readAt(fd: number, position: number, length: number): Buffer {
  const buffer = Buffer.alloc(length);
  return buffer.subarray(0, readSync(fd, buffer, 0, length, position));
}
