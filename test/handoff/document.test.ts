/** Documents of every format that a wedge has ever written are read; others are refused. */

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeDocument, encodeDocument, toJournalState } from "../../src/handoff/document.ts";

const fixtures = join(import.meta.dir, "fixtures");

function fixture(name: string): Buffer {
  return readFileSync(join(fixtures, name));
}

describe("the handoff document", () => {
  test.each(readdirSync(fixtures))("%s is read, and is itself when written again", (name) => {
    const document = decodeDocument(fixture(name));
    expect(document.task.containers.length).toBeGreaterThan(0);
    expect(decodeDocument(encodeDocument(document))).toEqual(document);
  });

  test("format 1 names what a shim holds", () => {
    const document = decodeDocument(fixture("format-1.json"));
    const [container] = document.task.containers;
    expect(container?.init.state.kind).toBe("running");
    expect(container?.execs.map(({ state }) => state.kind)).toEqual(["running"]);
    expect(container?.init.process.stdio?.parts.map(({ kind }) => kind)).toEqual([
      "relayedInput",
      "handedOutput",
    ]);
    expect(container?.execs[0]?.process.stdio?.parts.map(({ kind }) => kind)).toEqual(["terminal"]);
    expect(document.connections.flatMap(({ calls }) => calls).length).toBeGreaterThan(0);
    expect(document.descriptors.map(({ name }) => name)).toContain("listener");
    expect(toJournalState(document.journal).next).toBeGreaterThan(1);
  });

  test("the counts of a log file, which formats before 4 have, are passed over", () => {
    const text = fixture("format-4.json").toString();
    const counts = '"writtenBytes": 9, "lostBytes": 0, "rotations": 1, "path": "/var/log/box.log"';
    const older = text
      .replace('"version": 4', '"version": 3')
      .replace('"path": "/var/log/box.log"', counts);
    expect(older).toContain(counts);
    expect(decodeDocument(Buffer.from(older))).toEqual(decodeDocument(fixture("format-4.json")));
  });

  test.each([
    ["nothing", "", /handoff document/],
    ["garbage", "{", /handoff document/],
    ["another file", '{"format":"other","version":1}', /other 1/],
    ["a newer format", '{"format":"wedge-handoff","version":99}', /reads wedge-handoff up to 4/],
    ["a format without its fields", '{"format":"wedge-handoff","version":1}', /document\.writer/],
  ])("%s is refused", (_, text, message) => {
    expect(() => decodeDocument(Buffer.from(text))).toThrow(message);
  });
});
