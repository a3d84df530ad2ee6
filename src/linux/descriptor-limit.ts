/** How many descriptors this process may have. */

import { ptr } from "bun:ffi";
import { check } from "./errno.ts";
import { limitTable } from "./libc.ts";

const RLIMIT_NOFILE = 7;

/** One more than the highest descriptor that the kernel gives out now (getrlimit(2)). Throws SystemError. */
export function descriptorLimit(): number {
  const limits = new BigUint64Array(2);
  check("getrlimit(RLIMIT_NOFILE)", limitTable().getrlimit(RLIMIT_NOFILE, ptr(limits)));
  return Number(limits[0] ?? 0n);
}
