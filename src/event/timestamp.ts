/** Points in time on the wire. */

import type { Timestamp } from "../gen/google/protobuf/timestamp.ts";

/** Milliseconds since the epoch, fractions included, as google.protobuf.Timestamp. */
export function toTimestamp(atMs: number): Timestamp {
  const seconds = Math.floor(atMs / 1000);
  const nanos = Math.round((atMs - seconds * 1000) * 1e6);
  return { seconds: BigInt(seconds), nanos: Math.min(nanos, 999_999_999) };
}
