/** The reader of ttrpc frames: what comes in pieces is what comes whole, and nothing is kept beyond the limit. */

import { strict as assert } from "node:assert";
import { encodeFrame, FrameDecoder } from "../../../src/rpc/ttrpc/frame.ts";
import type { FuzzTarget } from "../target.ts";

const LENGTH_MAX = 1000;

interface Seen {
  readonly header: string;
  readonly body: string | undefined;
}

/** Every frame of `input` when it is fed in pieces of `step` bytes. */
function decode(input: Uint8Array, step: number): Seen[] {
  const decoder = new FrameDecoder(LENGTH_MAX);
  const seen: Seen[] = [];
  for (let at = 0; at < input.length; at += step) {
    decoder.feed(input.slice(at, at + step));
    for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) {
      const { streamId, type, flags, length, body } = frame;
      assert.ok(body === undefined ? length > LENGTH_MAX : body.length === length);
      seen.push({
        header: `${streamId} ${type} ${flags} ${length}`,
        body: body && Buffer.from(body).toString("latin1"),
      });
    }
  }
  return seen;
}

export const frameTarget: FuzzTarget = {
  name: "frame",
  seeds: [
    encodeFrame(1, 1, 0, Buffer.from("body")),
    encodeFrame(3, 1, 2, new Uint8Array(0)),
    Buffer.concat([
      encodeFrame(5, 3, 0, Buffer.from("data")),
      encodeFrame(5, 3, 5, new Uint8Array(0)),
    ]),
    encodeFrame(7, 2, 0, new Uint8Array(LENGTH_MAX + 5)),
    encodeFrame(9, 1, 0, new Uint8Array(LENGTH_MAX)),
  ],
  words: ["\0\0\0\x04\0\0\0\x01\x01\0", "\0\0\x03\xe9", "\0\x40\0\0", "\xff\xff\xff\xff"],
  run(input) {
    const whole = decode(input, Math.max(1, input.length));
    assert.deepEqual(decode(input, 7), whole);
    if (input.length < 200) assert.deepEqual(decode(input, 1), whole);
  },
};
