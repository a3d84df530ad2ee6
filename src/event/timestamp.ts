/** Points in time on the wire. */

import type { Timestamp } from "../gen/google/protobuf/timestamp.ts";

/**
 * Go's zero time, the first day of the year 1: by it clients know that there is no time. A missing timestamp is
 * 1970 to them, a time like any other.
 */
export const NO_TIME: Timestamp = { seconds: -62_135_596_800n, nanos: 0 };

/** Milliseconds since the epoch, fractions included, as google.protobuf.Timestamp. */
export function toTimestamp(atMs: number): Timestamp {
  const seconds = Math.floor(atMs / 1000);
  const nanos = Math.round((atMs - seconds * 1000) * 1e6);
  return { seconds: BigInt(seconds), nanos: Math.min(nanos, 999_999_999) };
}
