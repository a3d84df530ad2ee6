/** Who is at the other end of a unix socket. */

import { ptr } from "bun:ffi";
import { check } from "./errno.ts";
import { socketTable } from "./libc.ts";

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

/** A process as it was when it connected. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** The credentials of a connected unix socket's peer (unix(7), SO_PEERCRED). Throws SystemError. */
export function peerCredentials(fd: number): PeerCredentials {
  const credentials = new Uint32Array(3);
  const length = new Uint32Array([credentials.byteLength]);
  check(
    "getsockopt(SO_PEERCRED)",
    socketTable().getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ptr(credentials), ptr(length)),
  );
  const [pid = 0, uid = 0, gid = 0] = credentials;
  return { pid, uid, gid };
}
