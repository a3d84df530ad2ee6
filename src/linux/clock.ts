/** The clock that every program of this process reads alike: `performance.now` restarts with each. */

import { ptr } from "bun:ffi";
import { check } from "./errno.ts";
import { clockTable } from "./libc.ts";

const CLOCK_MONOTONIC = 1;
const MS_PER_SECOND = 1000;
const NANOSECONDS_PER_MS = 1_000_000;

/**
 * Milliseconds since some time before this system's processes began. Advances regardless of changes to the
 * time of day, and stands still while the system is suspended, as timers and poll(2) do.
 */
export function monotonicMs(): number {
  // struct timespec.
  const time = new BigInt64Array(2);
  check("clock_gettime", clockTable().clock_gettime(CLOCK_MONOTONIC, ptr(time)));
  const [seconds = 0n, nanoseconds = 0n] = time;
  return Number(seconds) * MS_PER_SECOND + Number(nanoseconds) / NANOSECONDS_PER_MS;
}
