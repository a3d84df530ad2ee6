/**
 * Calls on a connection of their own, with as little of the client in the figures as possible: blocking
 * reads and writes, requests encoded once, answers only counted.
 */

import { ptr } from "bun:ffi";
import { Request } from "../../src/gen/ttrpc/request.ts";
import { check } from "../../src/linux/errno.ts";
import { OwnedFd, readFd, writeFd } from "../../src/linux/fd.ts";
import { socketTable } from "../../src/linux/libc.ts";
import { encodeFrame, HEADER_LENGTH, TYPE_REQUEST } from "../../src/rpc/ttrpc/frame.ts";
import { NAMESPACE } from "./bench-run.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
/** Of sockaddr_un: the family takes two bytes, the path follows with its NUL. */
const PATH_OFFSET = 2;
const BUFFER_BYTES = 256 * 1024;
const STREAM_ID_OFFSET = 4;
/** As containerd asks for the state of a task. */
const TIMEOUT_NANOSECONDS = 2_000_000_000n;
const NAMESPACE_KEY = "containerd-namespace-ttrpc";

/** Which method, with its encoded request. */
export interface RawCall {
  readonly service: string;
  readonly method: string;
  readonly payload: Uint8Array;
}

export class RawCalls implements Disposable {
  readonly #socket: OwnedFd;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  /** Bytes of unfinished answers at the beginning of the buffer. */
  #filled = 0;
  #streamId = 1;

  /** Connects. Throws SystemError. */
  constructor(path: string) {
    const name = Buffer.from(path);
    const address = new Uint8Array(PATH_OFFSET + name.length + 1);
    address[0] = AF_UNIX;
    address.set(name, PATH_OFFSET);
    const type = SOCK_STREAM | SOCK_CLOEXEC;
    this.#socket = new OwnedFd(check("socket", socketTable().socket(AF_UNIX, type, 0)));
    const { fd } = this.#socket;
    check("connect", socketTable().connect(fd, ptr(address), address.length), path);
  }

  /** Makes `count` calls, never more than `atOnce` at a time. Blocks. Returns milliseconds for all. */
  run(
    call: RawCall,
    { count, atOnce }: { readonly count: number; readonly atOnce: number },
  ): number {
    const frame = encodeRequest(call);
    let sent = 0;
    const startedAtMs = performance.now();
    while (sent < Math.min(atOnce, count)) sent += this.#send(frame);
    for (let answered = 0; answered < count; ) {
      const answers = this.#receive();
      answered += answers;
      for (let next = 0; next < answers && sent < count; next++) sent += this.#send(frame);
    }
    return performance.now() - startedAtMs;
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }

  #send(frame: Uint8Array): number {
    new DataView(frame.buffer).setUint32(STREAM_ID_OFFSET, this.#streamId);
    this.#streamId += 2;
    if (writeFd(this.#socket.fd, frame) !== frame.length) throw new Error("A request was cut");
    return 1;
  }

  /** Reads once and counts the answers that are complete now. */
  #receive(): number {
    const count = readFd(this.#socket.fd, this.#buffer.subarray(this.#filled));
    if (count === 0 || count === "again") throw new Error("The shim has closed the connection");
    const end = this.#filled + count;
    const view = new DataView(this.#buffer.buffer);
    let at = 0;
    let answers = 0;
    while (end - at >= HEADER_LENGTH) {
      const length = HEADER_LENGTH + view.getUint32(at);
      if (end - at < length) break;
      at += length;
      answers++;
    }
    this.#buffer.copyWithin(0, at, end);
    this.#filled = end - at;
    return answers;
  }
}

function encodeRequest({ service, method, payload }: RawCall): Uint8Array {
  const request = Request.encode({
    service,
    method,
    payload,
    timeoutNano: TIMEOUT_NANOSECONDS,
    metadata: [{ key: NAMESPACE_KEY, value: NAMESPACE }],
  });
  return encodeFrame(0, TYPE_REQUEST, 0, request.finish());
}
