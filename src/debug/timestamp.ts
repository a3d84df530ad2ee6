/** Times on the wire. */

import type { Timestamp } from "../gen/google/protobuf/timestamp.ts";

const MS_PER_SECOND = 1000;
const NANOSECONDS_PER_MS = 1e6;

/** Undefined for none; Go's zero time, a year before Unix, counts as none too. */
export function toDate(timestamp: Timestamp | undefined): Date | undefined {
  if (timestamp === undefined || timestamp.seconds <= 0n) return undefined;
  return new Date(Number(timestamp.seconds) * MS_PER_SECOND + timestamp.nanos / NANOSECONDS_PER_MS);
}
