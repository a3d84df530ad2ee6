/**
 * Where log lines go: a descriptor that may be full, broken or slow, and never holds anybody up.
 *
 * A line is at most PIPE_BUF bytes, so a FIFO takes all of it or nothing (pipe(7)): no line is torn,
 * however many shims of a pod write to one. Lines that are not taken are dropped and counted, and the
 * count is written as soon as there is room again.
 */

import { fstatSync } from "node:fs";
import { hasFlags, O_NONBLOCK, O_RDWR, type OwnedFd, openFd, writeFd } from "./fd.ts";

const LINE_BYTES_MAX = 4096;
const CUT_MARK = "...";

/** The text of the line that reports lost ones. */
export type LostLine = (count: number) => string;

export class LogSink implements Disposable {
  readonly #fd: number;
  readonly #owned: OwnedFd | undefined;
  readonly #lostLine: LostLine;
  #lost = 0;

  private constructor(fd: number, owned: OwnedFd | undefined, lostLine: LostLine) {
    this.#fd = fd;
    this.#owned = owned;
    this.#lostLine = lostLine;
  }

  /**
   * Writes to `fd`, which stays the caller's. A FIFO that is not open for both reading and writing and
   * non-blocking, as `start` opens it for the daemon, is reopened: its flags may be shared with others, and
   * without a reader of our own, writing would fail while containerd restarts. `lost` lines were dropped
   * before, and are reported with the first that is written.
   */
  static open(fd: number, lostLine: LostLine, lost = 0): LogSink {
    const sink = LogSink.#open(fd, lostLine);
    sink.#lost = lost;
    return sink;
  }

  static #open(fd: number, lostLine: LostLine): LogSink {
    if (!isFifo(fd) || hasFlags(fd, O_RDWR | O_NONBLOCK)) {
      return new LogSink(fd, undefined, lostLine);
    }
    try {
      const owned = openFd(`/proc/self/fd/${fd}`, O_RDWR | O_NONBLOCK);
      return new LogSink(owned.fd, owned, lostLine);
    } catch {
      return new LogSink(fd, undefined, lostLine); // No /proc: whoever opened it has seen to the flags.
    }
  }

  /** Lines dropped since the last one written. */
  get lost(): number {
    return this.#lost;
  }

  /** Writes one line; the newline at its end may be missing. Never throws, never blocks on a FIFO. */
  write(line: string): void {
    let bytes = encodeLine(line);
    if (this.#lost > 0) {
      // In one piece with the line where that fits, or the short notice would fill the last bytes of a
      // FIFO again and again.
      const notice = encodeLine(this.#lostLine(this.#lost));
      if (notice.length + bytes.length <= LINE_BYTES_MAX) bytes = Buffer.concat([notice, bytes]);
      else if (this.#attempt(notice)) this.#lost = 0;
    }
    this.#lost = this.#attempt(bytes) ? 0 : this.#lost + 1;
  }

  /** Closes what was opened here. */
  [Symbol.dispose](): void {
    this.#owned?.[Symbol.dispose]();
  }

  #attempt(bytes: Uint8Array): boolean {
    try {
      return writeFd(this.#fd, bytes) === bytes.length;
    } catch {
      return false; // EPIPE, EBADF, ENOSPC: the log is gone, the containers are not.
    }
  }
}

function encodeLine(line: string): Uint8Array {
  const bytes = Buffer.from(line.endsWith("\n") ? line : `${line}\n`);
  if (bytes.length <= LINE_BYTES_MAX) return bytes;
  const tail = Buffer.from(`${CUT_MARK}\n`);
  return Buffer.concat([bytes.subarray(0, LINE_BYTES_MAX - tail.length), tail]);
}

function isFifo(fd: number): boolean {
  try {
    return fstatSync(fd).isFIFO();
  } catch {
    return false;
  }
}
