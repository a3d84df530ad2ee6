/**
 * The forms in which a log file keeps output: as it came, or in records that say when and from which stream.
 *
 * A record is written as soon as its bytes are there, even for an unfinished line: nothing waits in memory
 * for a line to end, except the first bytes of a character where the form is text.
 */

export type LogFormat = "raw" | "cri" | "json";

/** A piece of a log that is written whole, in one file. */
export interface LogRecord {
  readonly bytes: Uint8Array;
  /** How many of the container's bytes it carries. */
  readonly payload: number;
}

/** What a formatter holds between two chunks. */
export interface FormatterState {
  /** The last record was of an unfinished line. */
  readonly isMidLine: boolean;
  /** The beginning of a character whose rest has not come yet. */
  readonly rest: Uint8Array;
}

/** As much of a line as containerd and Docker put in one record. */
const RECORD_PAYLOAD_MAX = 16 * 1024;
const LINE_FEED = 10;
const NOTHING = new Uint8Array(0);
/** The longest character of UTF-8. */
const CHARACTER_BYTES_MAX = 4;

/** Turns the output of one stream into records. */
export class LogFormatter {
  readonly #format: LogFormat;
  readonly #stream: "stdout" | "stderr";
  #isMidLine = false;
  #rest: Uint8Array = NOTHING;

  constructor(format: LogFormat, stream: "stdout" | "stderr") {
    this.#format = format;
    this.#stream = stream;
  }

  get state(): FormatterState {
    return { isMidLine: this.#isMidLine, rest: this.#rest };
  }

  /** Takes over what a predecessor holds. */
  restore({ isMidLine, rest }: FormatterState): void {
    this.#isMidLine = isMidLine;
    this.#rest = rest;
  }

  /** The records of `chunk`, which was read at `atMs` (milliseconds since the epoch). */
  format(chunk: Uint8Array, atMs: number): readonly LogRecord[] {
    const time = timeText(atMs);
    let bytes = chunk;
    if (this.#rest.length > 0) {
      bytes = Buffer.concat([this.#rest, chunk]);
      this.#rest = NOTHING;
    }
    const records: LogRecord[] = [];
    for (let at = 0; at < bytes.length; ) {
      const piece = this.#nextPiece(bytes, at);
      if (piece.length === 0) {
        this.#rest = bytes.slice(at);
        break;
      }
      records.push({ bytes: this.#encode(piece, time), payload: piece.length });
      at += piece.length;
    }
    return records;
  }

  /** What is still due at the end of the stream: an unfinished line is closed, half a character is passed on as it is. */
  finish(atMs: number): readonly LogRecord[] {
    const time = timeText(atMs);
    const rest = this.#rest;
    this.#rest = NOTHING;
    const records: LogRecord[] = [];
    if (rest.length > 0) records.push({ bytes: this.#encode(rest, time), payload: rest.length });
    if (this.#format !== "cri" || !this.#isMidLine) return records;
    this.#isMidLine = false;
    records.push({ bytes: Buffer.from(`${time} ${this.#stream} F \n`), payload: 0 });
    return records;
  }

  /** A line with its end, or as much of one as there is; empty when only half a character is left. */
  #nextPiece(bytes: Uint8Array, from: number): Uint8Array {
    const limit = Math.min(bytes.length, from + RECORD_PAYLOAD_MAX);
    const newline = bytes.indexOf(LINE_FEED, from);
    if (newline >= 0 && newline < limit) return bytes.subarray(from, newline + 1);
    const end = this.#format === "json" ? lastCharacterEnd(bytes, from, limit) : limit;
    return bytes.subarray(from, end);
  }

  #encode(piece: Uint8Array, time: string): Uint8Array {
    const isWhole = piece.at(-1) === LINE_FEED;
    this.#isMidLine = !isWhole;
    switch (this.#format) {
      case "raw":
        return piece.slice(); // The chunk is reused.
      case "cri": {
        const head = Buffer.from(`${time} ${this.#stream} ${isWhole ? "F" : "P"} `);
        return Buffer.concat(isWhole ? [head, piece] : [head, piece, Buffer.of(LINE_FEED)]);
      }
      case "json": {
        const log = Buffer.from(piece).toString("utf8");
        return Buffer.from(`${JSON.stringify({ log, stream: this.#stream, time })}\n`);
      }
    }
  }
}

/** RFC 3339 with nine fractional digits, as engines write and read it. */
function timeText(atMs: number): string {
  return new Date(atMs).toISOString().replace("Z", "000000Z");
}

/** Where the last whole UTF-8 character before `limit` ends; `limit` itself for what is not text. */
function lastCharacterEnd(bytes: Uint8Array, from: number, limit: number): number {
  for (let at = limit - 1; at >= from && at >= limit - CHARACTER_BYTES_MAX; at--) {
    const byte = bytes[at] ?? 0;
    if (byte < 0x80) return limit;
    if (byte >= 0xc0) return at + characterBytes(byte) <= limit ? limit : at;
  }
  return limit;
}

function characterBytes(lead: number): number {
  if (lead >= 0xf0) return 4;
  return lead >= 0xe0 ? 3 : 2;
}
