/** The handoff document, which the next program of a shim reads before anything else. */

import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeDocument, encodeDocument } from "../../../src/handoff/document.ts";
import { type FuzzTarget, unlessRefused } from "../target.ts";

const fixture = readFileSync(join(import.meta.dir, "../../handoff/fixtures/format-1.json"));

export const handoffTarget: FuzzTarget = {
  name: "handoff",
  // Without white space, so that most changes hit something that counts.
  seeds: [Buffer.from(JSON.stringify(JSON.parse(fixture.toString())))],
  words: [
    ...[
      '"',
      "{",
      "}",
      "[",
      "]",
      ":",
      ",",
      "null",
      "true",
      "-1",
      "1e999",
      "0.5",
      "9007199254740993",
    ],
    ...['"version":2', '"fd":-1', '"kind":"', '"__proto__":', "\\u0000", "[[", '{"a":', "\0"],
  ],
  run(input) {
    const document = unlessRefused(() => decodeDocument(input));
    if (document === undefined) return;
    const { fd = 0 } = document.descriptors[0] ?? {};
    assert.ok(Number.isInteger(fd) && fd >= 0);
    // What was understood is what the next program understands.
    assert.deepEqual(decodeDocument(encodeDocument(document)), document);
  },
};
