import { describe, expect, test } from "bun:test";
import {
  BODY_LENGTH_MAX,
  encodeFrame,
  type Frame,
  FrameDecoder,
  HEADER_LENGTH,
} from "../../../src/rpc/ttrpc/frame.ts";

const bodies = ["", "a", "hello", "x".repeat(300), "", "end"].map((text) => Buffer.from(text));
const stream = Buffer.concat(
  bodies.map((body, index) => encodeFrame(2 * index + 1, 3, index, body)),
);

function takeAll(decoder: FrameDecoder): Frame[] {
  const frames: Frame[] = [];
  for (let frame = decoder.next(); frame; frame = decoder.next()) frames.push(frame);
  return frames;
}

function decodeInPieces(bytes: Uint8Array, size: number, lengthMax?: number): Frame[] {
  const decoder = new FrameDecoder(lengthMax);
  const frames: Frame[] = [];
  for (let offset = 0; offset < bytes.length; offset += size) {
    decoder.feed(bytes.slice(offset, offset + size));
    frames.push(...takeAll(decoder));
  }
  return frames;
}

describe("encodeFrame()", () => {
  test("writes length, stream id, type and flags big-endian before the body", () => {
    expect([...encodeFrame(0x80000001, 1, 6, Buffer.from("ab"))]).toEqual([
      0, 0, 0, 2, 0x80, 0, 0, 1, 1, 6, 0x61, 0x62,
    ]);
  });
});

describe("FrameDecoder", () => {
  test.each([1, 2, 3, 7, 9, 10, 11, 64, 1000])(
    "gives the same frames in pieces of %i bytes",
    (size) => {
      const frames = decodeInPieces(stream, size);
      expect(frames.map(({ streamId }) => streamId)).toEqual([1, 3, 5, 7, 9, 11]);
      expect(frames.map(({ flags }) => flags)).toEqual([0, 1, 2, 3, 4, 5]);
      expect(frames.map(({ body }) => Buffer.from(body ?? []).toString())).toEqual(
        bodies.map((body) => body.toString()),
      );
    },
  );

  test("reads the highest stream id and length as unsigned", () => {
    const decoder = new FrameDecoder();
    decoder.feed(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0));
    expect(decoder.next()).toBeUndefined();
    const small = decodeInPieces(encodeFrame(0xffffffff, 1, 0, new Uint8Array(0)), 1);
    expect(small[0]?.streamId).toBe(0xffffffff);
  });

  test.each([
    { length: BODY_LENGTH_MAX, kept: true },
    { length: BODY_LENGTH_MAX + 1, kept: false },
  ])("keeps a body of $length bytes: $kept", ({ length, kept }) => {
    const bytes = Buffer.concat([
      encodeFrame(1, 1, 0, new Uint8Array(length)),
      encodeFrame(3, 1, 0, Buffer.from("next")),
    ]);
    const frames = decodeInPieces(bytes, 100_000);
    expect(frames.map(({ streamId }) => streamId)).toEqual([1, 3]);
    expect(frames[0]?.body?.length).toBe(kept ? length : undefined);
    expect(frames[0]?.length).toBe(length);
    expect(Buffer.from(frames[1]?.body ?? []).toString()).toBe("next");
  });

  test.each([1, 5, 13])("skips a body over the limit in pieces of %i bytes", (size) => {
    const bytes = Buffer.concat([
      encodeFrame(1, 1, 0, new Uint8Array(17)),
      encodeFrame(3, 1, 0, new Uint8Array(16)),
    ]);
    const frames = decodeInPieces(bytes, size, 16);
    expect(frames.map(({ body }) => body?.length)).toEqual([undefined, 16]);
  });

  test("gives a skipped frame only when all of it has gone by", () => {
    const decoder = new FrameDecoder(4);
    const bytes = encodeFrame(1, 1, 0, new Uint8Array(5));
    decoder.feed(bytes.slice(0, HEADER_LENGTH + 4));
    expect(decoder.next()).toBeUndefined();
    decoder.feed(bytes.slice(HEADER_LENGTH + 4));
    expect(decoder.next()?.body).toBeUndefined();
  });

  test("a small body does not keep a large read alive", () => {
    const decoder = new FrameDecoder();
    const bytes = new Uint8Array(100_000);
    bytes.set(encodeFrame(1, 1, 0, Buffer.from("small")));
    decoder.feed(bytes);
    expect(decoder.next()?.body?.buffer.byteLength).toBe(5);
  });
});
