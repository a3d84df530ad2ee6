/** The named unix sockets of a network namespace: who listens where, and how many are connected. */

import { readText } from "../../linux/text-file.ts";

/** Bit of the flags column: somebody listens (include/uapi/linux/net.h, SO_ACCEPTCON). */
const LISTENING_FLAG = 0x10000;
const CONNECTED_STATE = "03";
/** Num, RefCount, Protocol, Flags, Type, St, Inode, Path. */
const LINE = /^\S+ \S+ \S+ (\S+) \S+ (\S+) +(\d+) (\S.*)$/;

/** A bound path. */
export interface UnixSocket {
  readonly path: string;
  /** Of the listening socket; undefined when nobody listens (any more). */
  readonly inode: number | undefined;
  /** Open connections that were accepted there. */
  readonly connections: number;
}

/** By path, as /proc/net/unix of the process `pid` has them; empty where that cannot be read. */
export function listUnixSockets(pid: number | "self" = "self"): ReadonlyMap<string, UnixSocket> {
  const sockets = new Map<string, UnixSocket>();
  for (const line of (readText(`/proc/${pid}/net/unix`) ?? "").split("\n")) {
    const [, flags = "", state, inode, path = ""] = LINE.exec(line) ?? [];
    if (!path.startsWith("/")) continue;
    const known = sockets.get(path) ?? { path, inode: undefined, connections: 0 };
    const isListening = (Number.parseInt(flags, 16) & LISTENING_FLAG) !== 0;
    sockets.set(path, {
      path,
      inode: isListening ? Number(inode) : known.inode,
      connections: known.connections + (!isListening && state === CONNECTED_STATE ? 1 : 0),
    });
  }
  return sockets;
}
