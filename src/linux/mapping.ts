/** Memory that the kernel maps for one purpose and takes back whole: mmap(2). */

import type { Pointer } from "bun:ffi";
import { errno, SystemError } from "./errno.ts";
import { selfTable } from "./libc.ts";

export const PROT_READ = 1;
const PROT_WRITE = 2;
export const PROT_EXEC = 4;
const MAP_PRIVATE = 2;
const MAP_ANONYMOUS = 0x20;

/** Zeroed pages, each of which takes memory once it is touched. Unmapped when disposed. */
export interface Mapping extends Disposable {
  /** The address of its first byte, which begins a page. */
  readonly address: Pointer;
}

/** Maps `bytes` for reading and writing. Throws SystemError: ENOMEM. */
export function mapMemory(bytes: number): Mapping {
  const libc = selfTable();
  const flags = MAP_PRIVATE | MAP_ANONYMOUS;
  const address = libc.mmap(null, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  // MAP_FAILED is the last address that there is.
  if (typeof address !== "number" || address > Number.MAX_SAFE_INTEGER) {
    throw new SystemError("mmap", errno());
  }
  return { address, [Symbol.dispose]: () => void libc.munmap(address, bytes) };
}
