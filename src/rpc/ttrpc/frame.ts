/**
 * Bytes to frames and back: the ten-byte header and what follows it.
 *
 * Pure. The decoder keeps at most one unfinished frame, plus what it was fed and not yet asked
 * for, and can hand over both. See PROTOCOL.md for the meaning of types and flags.
 */

import {
  base64,
  fromBase64,
  maybe,
  record,
  type Shaped,
  toBase64,
  whole,
} from "../../base/shape.ts";

export const HEADER_LENGTH = 10;
/** Longest body a frame may carry, in bytes. A longer one is skipped, never kept. */
export const BODY_LENGTH_MAX = 4 * 1024 * 1024;

export const TYPE_REQUEST = 1;
export const TYPE_RESPONSE = 2;
export const TYPE_DATA = 3;

/** The sender sends nothing more on this stream. */
export const FLAG_REMOTE_CLOSED = 1;
/** On a request: more messages follow as data frames. */
export const FLAG_REMOTE_OPEN = 2;
/** On data: the frame carries no message, not even an empty one. */
export const FLAG_NO_DATA = 4;

const NO_BYTES = new Uint8Array(0);

export interface Frame {
  readonly streamId: number;
  readonly type: number;
  readonly flags: number;
  /** Undefined when it was longer than the limit and has been skipped. */
  readonly body: Uint8Array | undefined;
  /** Length of the body as the header gave it, in bytes. */
  readonly length: number;
}

/** Encodes a frame into bytes that belong to the caller. The body is copied. */
export function encodeFrame(
  streamId: number,
  type: number,
  flags: number,
  body: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(HEADER_LENGTH + body.length);
  writeHeader(bytes, { length: body.length, streamId, type, flags });
  bytes.set(body, HEADER_LENGTH);
  return bytes;
}

function encodeHeader(header: Header): Uint8Array {
  const bytes = new Uint8Array(HEADER_LENGTH);
  writeHeader(bytes, header);
  return bytes;
}

function writeHeader(bytes: Uint8Array, { length, streamId, type, flags }: Header): void {
  writeUint32(bytes, 0, length);
  writeUint32(bytes, 4, streamId);
  bytes[8] = type;
  bytes[9] = flags;
}

interface Header {
  readonly length: number;
  readonly streamId: number;
  readonly type: number;
  readonly flags: number;
}

/** What a decoder was fed and has not given yet. */
export const decoderState = record({
  bytes: base64,
  /** A body that is too long, and how much of it is still to be skipped. */
  skipped: maybe(
    record({ length: whole, streamId: whole, type: whole, flags: whole, left: whole }),
  ),
});
export type DecoderState = Shaped<typeof decoderState>;

/** What the decoder is in the middle of. */
type Part =
  | { readonly kind: "header"; readonly bytes: Uint8Array; filled: number }
  | { readonly kind: "body"; readonly header: Header; readonly bytes: Uint8Array; filled: number }
  | { readonly kind: "skip"; readonly header: Header; left: number };

/**
 * Takes bytes in pieces of any size and gives whole frames, one at a time.
 *
 * Frames are pulled, so that a reader that must wait leaves the rest undecoded. Fed chunks are
 * kept, not copied: they belong to the decoder.
 */
export class FrameDecoder {
  readonly #lengthMax: number;
  readonly #chunks: Uint8Array[] = [];
  /** Read position in the first chunk. */
  #offset = 0;
  #part: Part | undefined;

  constructor(lengthMax = BODY_LENGTH_MAX) {
    this.#lengthMax = lengthMax;
  }

  /** Gives `chunk` to the decoder. */
  feed(chunk: Uint8Array): void {
    if (chunk.length > 0) this.#chunks.push(chunk);
  }

  /** How much is kept of frames that are incomplete, or not taken. */
  get size(): number {
    const part = this.#part;
    let size = part === undefined || part.kind === "skip" ? 0 : part.filled;
    for (const chunk of this.#chunks) size += chunk.length;
    return size;
  }

  /** For {@link restore}. */
  snapshot(): DecoderState {
    const part = this.#part;
    const begun: Uint8Array[] = [];
    if (part?.kind === "body") begun.push(encodeHeader(part.header));
    if (part !== undefined && part.kind !== "skip") begun.push(part.bytes.subarray(0, part.filled));
    const fed = this.#chunks.map((chunk, at) => (at === 0 ? chunk.subarray(this.#offset) : chunk));
    return {
      bytes: toBase64(Buffer.concat([...begun, ...fed])),
      skipped: part?.kind === "skip" ? { ...part.header, left: part.left } : undefined,
    };
  }

  /** Makes this decoder, which is new, continue where another left off. */
  restore({ bytes, skipped }: DecoderState): void {
    if (skipped !== undefined) {
      const { left, ...header } = skipped;
      this.#part = { kind: "skip", header, left };
    }
    this.feed(fromBase64(bytes));
  }

  /** Takes the next frame, or returns undefined until more bytes are fed. */
  next(): Frame | undefined {
    if (this.#part === undefined) {
      const frame = this.#nextWhole();
      if (frame !== undefined) return frame;
    }
    for (;;) {
      const chunk = this.#chunks[0];
      if (chunk === undefined) return undefined;
      const frame = this.#consume(chunk);
      if (frame !== undefined) return frame;
    }
  }

  /** The usual case: a chunk that holds the whole frame. */
  #nextWhole(): Frame | undefined {
    const chunk = this.#chunks[0];
    if (chunk === undefined || chunk.length - this.#offset < HEADER_LENGTH) return undefined;
    const header = readHeader(chunk, this.#offset);
    const start = this.#offset + HEADER_LENGTH;
    if (header.length > this.#lengthMax || chunk.length - start < header.length) return undefined;
    this.#advance(chunk, HEADER_LENGTH + header.length);
    const body = chunk.subarray(start, start + header.length);
    // A long-lived call keeps its request, which must not keep a large read buffer alive.
    return withBody(header, chunk.length > 2 * body.length + 4096 ? new Uint8Array(body) : body);
  }

  /** Moves some of `chunk` into the unfinished part. Returns the frame when that completes one. */
  #consume(chunk: Uint8Array): Frame | undefined {
    this.#part ??= { kind: "header", bytes: new Uint8Array(HEADER_LENGTH), filled: 0 };
    const part = this.#part;
    const available = chunk.length - this.#offset;
    if (part.kind === "skip") {
      const count = Math.min(part.left, available);
      part.left -= count;
      this.#advance(chunk, count);
      return part.left > 0 ? undefined : this.#finish(part.header, undefined);
    }
    const count = Math.min(part.bytes.length - part.filled, available);
    part.bytes.set(chunk.subarray(this.#offset, this.#offset + count), part.filled);
    part.filled += count;
    this.#advance(chunk, count);
    if (part.filled < part.bytes.length) return undefined;
    if (part.kind === "body") return this.#finish(part.header, part.bytes);
    return this.#startBody(readHeader(part.bytes, 0));
  }

  #startBody(header: Header): Frame | undefined {
    if (header.length === 0) return this.#finish(header, NO_BYTES);
    this.#part =
      header.length > this.#lengthMax
        ? { kind: "skip", header, left: header.length }
        : { kind: "body", header, bytes: new Uint8Array(header.length), filled: 0 };
    return undefined;
  }

  #finish(header: Header, body: Uint8Array | undefined): Frame {
    this.#part = undefined;
    return withBody(header, body);
  }

  #advance(chunk: Uint8Array, count: number): void {
    this.#offset += count;
    if (this.#offset < chunk.length) return;
    this.#chunks.shift();
    this.#offset = 0;
  }
}

function withBody(header: Header, body: Uint8Array | undefined): Frame {
  const { streamId, type, flags, length } = header;
  return { streamId, type, flags, body, length };
}

function readHeader(bytes: Uint8Array, offset: number): Header {
  return {
    length: readUint32(bytes, offset),
    streamId: readUint32(bytes, offset + 4),
    type: bytes[offset + 8] ?? 0,
    flags: bytes[offset + 9] ?? 0,
  };
}

function readUint32(bytes: Uint8Array, offset: number): number {
  const high = ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0);
  const low = ((bytes[offset + 2] ?? 0) << 8) | (bytes[offset + 3] ?? 0);
  return high * 0x10000 + low;
}

function writeUint32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 24;
  bytes[offset + 1] = value >>> 16;
  bytes[offset + 2] = value >>> 8;
  bytes[offset + 3] = value;
}
