/** What /proc shows of this process: its words and its name. */

import { ptr } from "bun:ffi";
import { readFileSync } from "node:fs";
import { cString } from "./bytes.ts";
import { check } from "./errno.ts";
import { processTable, selfTable } from "./libc.ts";
import { parseStat } from "./proc-stat.ts";

const PR_SET_NAME = 15;
const PR_SET_MM = 35;
const PR_SET_MM_MAP = 14;
const SYS_BRK = process.arch === "x64" ? 12 : 214;
/** sizeof(struct prctl_mm_map): eleven addresses, then a pointer, its length, and a descriptor. */
const MAP_BYTES = 104;
const MAP_HEAP_END = 5;
const MAP_ARG_START = 7;
const MAP_ARG_END = 8;
const MAP_EXE_FD_OFFSET = 100;

/** Where the kernel reads the command line once it was changed: it must stay there until the next change. */
const read = { bytes: new Uint8Array(0) };

/**
 * Makes `words` the command line of this process, and `name` its name, of which the kernel keeps 15 bytes. It
 * needs no capability, but a kernel with CONFIG_CHECKPOINT_RESTORE: otherwise throws SystemError, EINVAL
 * (prctl(2), PR_SET_MM_MAP).
 */
export function changeCommandLine(words: readonly string[], name: string): void {
  const text = new Uint8Array(Buffer.from(words.map((word) => `${word}\0`).join("")));
  const address = ptr(text);
  const map = presentMap();
  const view = new DataView(map.buffer);
  view.setBigUint64(MAP_ARG_START * 8, BigInt(address), true);
  view.setBigUint64(MAP_ARG_END * 8, BigInt(address + text.length), true);
  const result = selfTable().prctl(PR_SET_MM, PR_SET_MM_MAP, ptr(map), MAP_BYTES, 0);
  check("prctl(PR_SET_MM_MAP)", result);
  read.bytes = text;
  const label = cString(name);
  check("prctl(PR_SET_NAME)", selfTable().prctl(PR_SET_NAME, ptr(label), 0, 0, 0));
}

/** While a program runs nothing else changes it, except for the end of the heap. */
let known: Uint8Array | undefined;

/** The present map, as a struct prctl_mm_map that changes nothing. */
function presentMap(): Uint8Array {
  known ??= readMemoryMap();
  new DataView(known.buffer).setBigUint64(MAP_HEAP_END * 8, readHeapEnd(), true);
  return known;
}

function readMemoryMap(): Uint8Array {
  const map = new Uint8Array(MAP_BYTES);
  const view = new DataView(map.buffer);
  const stat = parseStat(readFileSync("/proc/self/stat", "latin1"));
  const { startCode, endCode, startData, endData, startBrk, startStack } = stat;
  const { argStart, argEnd, envStart, envEnd } = stat;
  // The end of the heap, which the kernel reports elsewhere, follows its beginning.
  const code = [startCode, endCode, startData, endData, startBrk, "0", startStack];
  [...code, argStart, argEnd, envStart, envEnd].forEach((address, index) => {
    view.setBigUint64(index * 8, BigInt(address), true);
  });
  // The program stays.
  view.setInt32(MAP_EXE_FD_OFFSET, -1, true);
  return map;
}

function readHeapEnd(): bigint {
  return BigInt(processTable().syscall(SYS_BRK, 0, 0, 0, 0, 0));
}
