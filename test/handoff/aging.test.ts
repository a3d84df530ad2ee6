/** Times in a document are as of the instant at which it was written. */

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { aged } from "../../src/handoff/aging.ts";
import { decodeDocument, type HandoffDocument } from "../../src/handoff/document.ts";

const WRITTEN_AT_MS = 5000;
const KEPT = { process: { id: "c", execId: "" }, digest: "", answer: [], ageMs: 100 };

function document(): HandoffDocument {
  const path = join(import.meta.dir, "fixtures/format-1.json");
  const { task, connections, ...parts } = decodeDocument(readFileSync(path));
  const call = { streamId: 1, request: "" };
  return {
    ...parts,
    writtenAtMs: WRITTEN_AT_MS,
    task: {
      ...task,
      repeated: { creates: [KEPT], execs: [KEPT], starts: [KEPT], deletes: [KEPT, KEPT] },
    },
    connections: connections.map((connection) => ({
      ...connection,
      calls: [
        { ...call, leftMs: 1000 },
        { ...call, leftMs: undefined },
      ],
    })),
  };
}

function timesOf({ task, connections, writtenAtMs }: HandoffDocument) {
  const { creates, execs, starts, deletes } = task.repeated;
  const ages = [creates, execs, starts, deletes].flat().map(({ ageMs }) => ageMs);
  const lefts = connections.flatMap(({ calls }) => calls).map(({ leftMs }) => leftMs);
  return { ages, lefts, writtenAtMs };
}

test.each([
  ["as it is at once", 0, 100, 1000],
  ["older after a sleep, which a deadline may have passed in", 2500, 2600, -1500],
  ["as it is by a clock that stands before it", -2000, 100, 1000],
])("a document is %s", (_, passedMs, ageMs, leftMs) => {
  const nowMs = WRITTEN_AT_MS + passedMs;
  const later = aged(document(), nowMs);
  expect(timesOf(later)).toEqual({
    ages: [ageMs, ageMs, ageMs, ageMs, ageMs],
    lefts: [leftMs, undefined],
    writtenAtMs: nowMs,
  });
  expect(later.cause).toEqual(document().cause);
  expect(later.task.containers).toEqual(document().task.containers);
});

test("aging twice is aging once", () => {
  const twice = aged(aged(document(), WRITTEN_AT_MS + 300), WRITTEN_AT_MS + 700);
  expect(twice).toEqual(aged(document(), WRITTEN_AT_MS + 700));
});
