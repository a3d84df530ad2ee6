/**
 * Which containerd started us, where nothing in the protocol tells.
 *
 * containerd 1.7 and 2.0 to 2.2 call a shim in the same words, but only the latter accept version 3 as
 * an answer, which saves them one process for each further container of a pod. A Go executable names
 * its main package in the section `.go.buildinfo`, and containerd 2's has a name of its own. Read from
 * `/proc/PID/exe`, it is the running program's, not that of an upgrade installed since.
 */

import { closeSync, openSync, readSync } from "node:fs";

const MAIN_PACKAGE = "path\tgithub.com/containerd/containerd/v2/cmd/containerd\n";
const SECTION = ".go.buildinfo";
const ELF64_HEADER_BYTES = 64;
const ELF_MAGIC = 0x7f454c46;
const CLASS_64_LITTLE_ENDIAN = 0x0201;
/** Of a 64-bit section header (elf(5)). */
const SECTION_HEADER_BYTES = 64;
const SECTIONS_MAX = 256;
const SECTION_NAMES_BYTES_MAX = 65536;
/** The main package comes first, after a header and the Go version. */
const BUILD_INFO_BYTES = 512;

/** Whether the executable at `path` is containerd 2 or later. Never throws: when in doubt, no. */
export function isContainerd2(path: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return false; // Gone, or not ours to look at.
  }
  try {
    return readBuildInfo(fd)?.includes(MAIN_PACKAGE) ?? false;
  } catch {
    return false; // Not an executable that we understand.
  } finally {
    closeSync(fd);
  }
}

function readBuildInfo(fd: number): Buffer | undefined {
  const header = readAt(fd, 0, ELF64_HEADER_BYTES);
  if (header.readUInt32BE(0) !== ELF_MAGIC) return undefined;
  if (header.readUInt16BE(4) !== CLASS_64_LITTLE_ENDIAN) return undefined;
  const count = Math.min(header.readUInt16LE(60), SECTIONS_MAX);
  const table = readAt(fd, Number(header.readBigUInt64LE(40)), count * SECTION_HEADER_BYTES);
  const names = section(table, header.readUInt16LE(62));
  const text = readAt(fd, names.offset, Math.min(names.size, SECTION_NAMES_BYTES_MAX));
  for (let index = 0; index < count; index++) {
    const { nameOffset, offset, size } = section(table, index);
    const end = text.indexOf(0, nameOffset);
    if (text.toString("latin1", nameOffset, end) !== SECTION) continue;
    return readAt(fd, offset, Math.min(size, BUILD_INFO_BYTES));
  }
  return undefined;
}

interface Section {
  readonly nameOffset: number;
  readonly offset: number;
  readonly size: number;
}

function section(table: Buffer, index: number): Section {
  const at = index * SECTION_HEADER_BYTES;
  return {
    nameOffset: table.readUInt32LE(at),
    offset: Number(table.readBigUInt64LE(at + 24)),
    size: Number(table.readBigUInt64LE(at + 32)),
  };
}

function readAt(fd: number, position: number, length: number): Buffer {
  const buffer = Buffer.alloc(length);
  const count = readSync(fd, buffer, 0, length, position);
  return buffer.subarray(0, count);
}
