/** Descriptors that arrive over a unix socket (unix(7), SCM_RIGHTS), and the small listener that takes them. */

import { ptr } from "bun:ffi";
import { cString } from "./bytes.ts";
import { check, EAGAIN, EINTR, errno, SystemError } from "./errno.ts";
import { O_CLOEXEC, O_NONBLOCK, OwnedFd } from "./fd.ts";
import { socketTable } from "./libc.ts";
import { SOCKET_PATH_BYTES } from "./listener.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_SEQPACKET = 5;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CMSG_CLOEXEC = 0x40000000;
/** sizeof(struct msghdr) and the offsets of its fields, on every 64-bit Linux. */
const MSGHDR_BYTES = 56;
const MSG_IOV = 16;
const MSG_IOVLEN = 24;
const MSG_CONTROL = 32;
const MSG_CONTROLLEN = 40;
const CMSGHDR_BYTES = 16;
/** Room for more descriptors than anybody should send: those beyond it would be dropped by the kernel. */
const MOST_DESCRIPTORS = 16;
/** Callers that wait to be accepted: usually there is one. */
const BACKLOG = 16;
/** A sender names what it sends; the name is of no use here, but at least one byte must be received. */
const NAME_BYTES = 4096;

/** The result of one receive: the descriptors (none at the end of the stream), or "again". */
export type Received = readonly OwnedFd[] | "again";

/**
 * A listening unix socket at `path`, non-blocking, close-on-exec; "packets" are each received as they
 * were sent. The caller unlinks the path.
 * Throws RangeError for a path over {@link SOCKET_PATH_BYTES}, SystemError for the rest.
 */
export function listenUnix(path: string, kind: "stream" | "packets" = "stream"): OwnedFd {
  const name = cString(path);
  if (name.length - 1 > SOCKET_PATH_BYTES) {
    throw new RangeError(
      `Socket path of ${name.length - 1} bytes (most: ${SOCKET_PATH_BYTES}): ${path}`,
    );
  }
  const libc = socketTable();
  const type = (kind === "stream" ? SOCK_STREAM : SOCK_SEQPACKET) | O_NONBLOCK | O_CLOEXEC;
  const socket = new OwnedFd(check("socket", libc.socket(AF_UNIX, type, 0)));
  try {
    const address = new Uint8Array(2 + name.length);
    new DataView(address.buffer).setUint16(0, AF_UNIX, true);
    address.set(name, 2);
    check("bind", libc.bind(socket.fd, ptr(address), address.length), path);
    check("listen", libc.listen(socket.fd, BACKLOG), path);
    return socket;
  } catch (error) {
    socket[Symbol.dispose]();
    throw error;
  }
}

/** The next connection, non-blocking and close-on-exec; "again" when nobody has called yet. */
export function acceptUnix(listener: number): OwnedFd | "again" {
  for (;;) {
    const fd = socketTable().accept4(listener, null, null, O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) return new OwnedFd(fd);
    const number = errno();
    if (number === EINTR) continue;
    if (number === EAGAIN) return "again";
    throw new SystemError("accept4", number);
  }
}

/** Takes one message and the descriptors in it, each close-on-exec and the caller's from now on. */
export function receiveDescriptors(socket: number): Received {
  const message = receiveMessage(socket, NAME_BYTES);
  return message === "again" ? message : message.descriptors;
}

/** What was sent in one message; no bytes at the end. */
export interface Message {
  readonly bytes: Uint8Array;
  readonly descriptors: readonly OwnedFd[];
}

/**
 * Takes one message of at most `bytesMax` bytes (the rest is lost) and the descriptors in it, each
 * close-on-exec and the caller's from now on.
 */
export function receiveMessage(socket: number, bytesMax: number): Message | "again" {
  const bytes = new Uint8Array(bytesMax);
  const control = new Uint8Array(CMSGHDR_BYTES + MOST_DESCRIPTORS * 4);
  const vector = new BigUint64Array([BigInt(ptr(bytes)), BigInt(bytes.length)]);
  const header = new Uint8Array(MSGHDR_BYTES);
  const view = new DataView(header.buffer);
  view.setBigUint64(MSG_IOV, BigInt(ptr(vector)), true);
  view.setBigUint64(MSG_IOVLEN, 1n, true);
  view.setBigUint64(MSG_CONTROL, BigInt(ptr(control)), true);
  view.setBigUint64(MSG_CONTROLLEN, BigInt(control.length), true);
  let count: number;
  for (;;) {
    count = Number(socketTable().recvmsg(socket, ptr(header), MSG_CMSG_CLOEXEC));
    if (count >= 0) break;
    const number = errno();
    if (number === EINTR) continue;
    if (number === EAGAIN) return "again";
    throw new SystemError("recvmsg", number);
  }
  const length = Number(view.getBigUint64(MSG_CONTROLLEN, true));
  return {
    bytes: bytes.subarray(0, count),
    descriptors: descriptorsIn(control.subarray(0, length)),
  };
}

/** Walks the control messages (cmsg(3)); the kernel writes each SCM_RIGHTS array as 32-bit numbers. */
function descriptorsIn(control: Uint8Array): OwnedFd[] {
  const view = new DataView(control.buffer, control.byteOffset, control.byteLength);
  const found: OwnedFd[] = [];
  let offset = 0;
  while (offset + CMSGHDR_BYTES <= control.length) {
    const length = Number(view.getBigUint64(offset, true));
    if (length < CMSGHDR_BYTES) break;
    const isRights =
      view.getInt32(offset + 8, true) === SOL_SOCKET &&
      view.getInt32(offset + 12, true) === SCM_RIGHTS;
    const end = Math.min(offset + length, control.length);
    for (let at = offset + CMSGHDR_BYTES; isRights && at + 4 <= end; at += 4) {
      found.push(new OwnedFd(view.getInt32(at, true)));
    }
    offset += (length + 7) & ~7;
  }
  return found;
}
