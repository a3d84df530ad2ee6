/** A connection of a server as plain data. */

import { base64, list, maybe, real, record, type Shaped, whole } from "../../base/shape.ts";
import type { Peer } from "../service.ts";
import { frameConnectionState } from "./connection.ts";

/** A connection as it is handed over, with its calls in flight. */
export const serverConnectionState = record({
  fd: whole,
  peer: record({ pid: maybe(whole), uid: maybe(whole), gid: maybe(whole) }),
  lastStreamId: whole,
  frames: frameConnectionState,
  /** `leftMs`: until the deadline, if there is one. */
  calls: list(record({ streamId: whole, request: base64, leftMs: maybe(real) })),
});
export type ServerConnectionState = Shaped<typeof serverConnectionState>;

/** Whether anything has come over the connection, so that it is ttrpc's for good. */
export function hasBegun({ lastStreamId, frames }: ServerConnectionState): boolean {
  return lastStreamId > 0 || frames.inbound.bytes !== "" || frames.inbound.skipped !== undefined;
}

/** Who is at the other end of the connection. */
export function peerOf({ peer: { pid, uid, gid } }: ServerConnectionState): Peer {
  return {
    ...(pid !== undefined && { pid }),
    ...(uid !== undefined && { uid }),
    ...(gid !== undefined && { gid }),
  };
}
