/**
 * A log file that is written in records and, when it is full, renamed to make way for a new one:
 * `log`, then `log.1` the youngest of the old ones, `log.2`, and so on.
 */

import { constants, fstatSync, ftruncateSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { messageOf, ShimError } from "../base/error.ts";
import type { Inventory } from "../base/inventory.ts";
import type { Logger } from "../base/log.ts";
import {
  base64,
  flag,
  fromBase64,
  maybe,
  plain,
  record,
  type Shaped,
  toBase64,
  whole,
  word,
} from "../base/shape.ts";
import { hasCode } from "../linux/errno.ts";
import { O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY, OwnedFd, openFd, writeFd } from "../linux/fd.ts";
import { ownPid } from "../linux/self.ts";
import { type LogFormat, LogFormatter, type LogRecord } from "./log-record.ts";
import { type NamedFd, openOnes } from "./named-fd.ts";

/** What the query of a `file://` URI asks for. */
export interface LogFileOptions {
  readonly format: LogFormat;
  /** A file has at most this many bytes, unless a single record is larger; undefined is no limit. */
  readonly maxBytes: number | undefined;
  /** Files that are kept, including the one being written. */
  readonly maxFiles: number;
}

/** A log file as it is handed over. */
export const logFileState = record({
  path: plain,
  format: word("raw", "cri", "json"),
  maxBytes: maybe(whole),
  maxFiles: whole,
  fd: maybe(whole),
});
export type LogFileState = Shaped<typeof logFileState>;

/** One stream on its way into a log file, and what it has in hand. */
export const logStreamState = record({
  stream: word("stdout", "stderr"),
  isMidLine: flag,
  rest: base64,
});
export type LogStreamState = Shaped<typeof logStreamState>;

/**
 * Opens the file of a file:// URI to append to, with the directories above it; `flags` may add O_EXCL.
 * Throws SystemError.
 */
export function openLogFile(path: string, flags = 0): OwnedFd {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  // Without waiting: there may be a FIFO, and a file does not mind.
  return openFd(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | flags, 0o644);
}

/** The file, and the rotated ones. Streams share it and write in turn. */
export class LogFile implements Disposable {
  readonly #path: string;
  readonly #options: LogFileOptions;
  readonly #log: Logger;
  #fd: OwnedFd;
  #bytes: number;
  #lostBytes = 0;
  #hasRotationFailed = false;

  /** Throws SystemError, or ShimError `failedPrecondition` for what is not a regular file. */
  constructor(path: string, options: LogFileOptions, log: Logger, fd = openLogFile(path)) {
    this.#path = path;
    this.#options = options;
    this.#log = log;
    this.#fd = fd;
    const stat = fstatSync(this.#fd.fd);
    this.#bytes = stat.size;
    if (stat.isFile()) return;
    this.#fd[Symbol.dispose]();
    throw new ShimError(
      "failedPrecondition",
      `Cannot keep a log in ${path}: it is not a regular file`,
    );
  }

  /** A file that continues where another left off. */
  static restore(state: LogFileState, log: Logger): LogFile {
    const { path, format, maxBytes, maxFiles } = state;
    return new LogFile(path, { format, maxBytes, maxFiles }, log, OwnedFd.restore(state.fd));
  }

  /** For {@link restore}. */
  snapshot(inventory: Inventory): LogFileState {
    return { ...this.#options, path: this.#path, fd: inventory.keep("log-file", this.#fd) };
  }

  get format(): LogFormat {
    return this.#options.format;
  }

  /** Bytes of the container that this object could not write. */
  get lostBytes(): number {
    return this.#lostBytes;
  }

  /** Writes whole records; throws the first refusal once all that can be written is written. */
  write(records: readonly LogRecord[]): void {
    const { maxBytes = Number.POSITIVE_INFINITY } = this.#options;
    let block: LogRecord[] = [];
    let blockBytes = 0;
    let failure: unknown;
    const flush = () => {
      try {
        this.#append(block);
      } catch (error) {
        failure ??= error;
      }
      block = [];
      blockBytes = 0;
    };
    for (const next of records) {
      const bytes = this.#bytes + blockBytes;
      if (bytes > 0 && bytes + next.bytes.length > maxBytes) {
        flush();
        this.#rotate();
      }
      block.push(next);
      blockBytes += next.bytes.length;
    }
    flush();
    if (failure !== undefined) throw failure;
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }

  descriptors(): readonly NamedFd[] {
    return openOnes({ "log-file": this.#fd });
  }

  /** All of `block`, or as many of its first records as there is room for: half of one would spoil the next. */
  #append(block: readonly LogRecord[]): void {
    const bytes = Buffer.concat(block.map((each) => each.bytes));
    let written = 0;
    try {
      while (written < bytes.length) {
        const count = writeFd(this.#fd.fd, bytes.subarray(written));
        if (count !== "again") written += count;
      }
    } catch (error) {
      const room = written;
      written = this.#wholeRecords(block, room);
      // By where it ends now: another process's streams may go there too, and somebody may have truncated it.
      if (room > written) ftruncateSync(this.#fd.fd, fstatSync(this.#fd.fd).size - room + written);
      throw error;
    } finally {
      this.#bytes += written;
    }
  }

  /** How many of the first `room` bytes are whole records; the rest is counted as lost. */
  #wholeRecords(block: readonly LogRecord[], room: number): number {
    let end = 0;
    let isFull = false;
    for (const { bytes, payload } of block) {
      isFull ||= end + bytes.length > room;
      if (isFull) this.#lostBytes += payload;
      else end += bytes.length;
    }
    return end;
  }

  /** On failure the file keeps growing, and the next record tries again. */
  #rotate(): void {
    try {
      if (this.#options.maxFiles === 1) ftruncateSync(this.#fd.fd);
      else this.#putAside();
      this.#bytes = 0;
      this.#hasRotationFailed = false;
    } catch (error) {
      if (this.#hasRotationFailed) return;
      this.#hasRotationFailed = true;
      this.#log.warn("Cannot rotate a log", { path: this.#path, error: messageOf(error) });
    }
  }

  /** Opens the new file first: otherwise, while that fails, each attempt would push an old one out. */
  #putAside(): void {
    // A name of our own, and a new file: what others keep in this directory is not ours to continue or remove.
    const fresh = join(dirname(this.#path), `.${basename(this.#path)}.${ownPid()}`);
    rmSync(fresh, { force: true }); // It can only be that of a dead process with the same pid.
    using undo = new DisposableStack();
    const next = undo.use(openLogFile(fresh, constants.O_EXCL));
    undo.defer(() => rmSync(fresh, { force: true }));
    for (let age = this.#options.maxFiles - 1; age > 0; age--) this.#makeOlder(age);
    renameSync(fresh, this.#path);
    undo.move();
    this.#fd[Symbol.dispose]();
    this.#fd = next;
  }

  #makeOlder(age: number): void {
    const younger = age === 1 ? this.#path : `${this.#path}.${age - 1}`;
    try {
      renameSync(younger, `${this.#path}.${age}`);
    } catch (error) {
      if (!hasCode(error, "ENOENT")) throw error; // There are not so many yet.
    }
  }
}

/** One stream on its way into a log file. */
export class LogStream {
  readonly #file: LogFile;
  readonly #stream: "stdout" | "stderr";
  readonly #formatter: LogFormatter;
  readonly #now: () => number;

  constructor(file: LogFile, stream: "stdout" | "stderr", now = Date.now) {
    this.#file = file;
    this.#stream = stream;
    this.#formatter = new LogFormatter(file.format, stream);
    this.#now = now;
  }

  static restore(file: LogFile, { stream, isMidLine, rest }: LogStreamState): LogStream {
    const restored = new LogStream(file, stream);
    restored.#formatter.restore({ isMidLine, rest: fromBase64(rest) });
    return restored;
  }

  /** For {@link restore}. */
  snapshot(): LogStreamState {
    const { isMidLine, rest } = this.#formatter.state;
    return { stream: this.#stream, isMidLine, rest: toBase64(rest) };
  }

  get formatter(): LogFormatter {
    return this.#formatter;
  }

  /** Takes all of `chunk`; what cannot be written is lost and reported to `onLost`. */
  take(chunk: Uint8Array, onLost: (error: unknown, bytes: number) => void): void {
    this.#write(this.#formatter.format(chunk, this.#now()), onLost);
  }

  /** The last byte was taken: closes an unfinished line. */
  finish(onLost: (error: unknown, bytes: number) => void): void {
    this.#write(this.#formatter.finish(this.#now()), onLost);
  }

  #write(records: readonly LogRecord[], onLost: (error: unknown, bytes: number) => void): void {
    const before = this.#file.lostBytes;
    try {
      this.#file.write(records);
    } catch (error) {
      onLost(error, this.#file.lostBytes - before);
    }
  }
}
