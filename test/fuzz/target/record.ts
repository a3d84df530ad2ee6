/** What is kept in files: journals are read whatever is in them, and no byte of output is lost in records. */

import { strict as assert } from "node:assert";
import { readEntries } from "../../../src/event/journal-file.ts";
import { parseDeadlines } from "../../../src/runtime/deadlines.ts";
import { LogFormatter } from "../../../src/stdio/log-record.ts";
import { bytes, type FuzzTarget, text, unlessRefused } from "../target.ts";

export const journalTarget: FuzzTarget = {
  name: "journal",
  seeds: [
    '{"number":1,"topic":"/tasks/start","envelope":"EgJucxoML3Rhc2tzL3N0YXJ0"}\n{"taken":1}\n',
    '{"number":2,"envelope":"IgA="}\n{"number":3,"envelope":"IgA="}\n{"numb',
  ].map(bytes),
  words: ["\n", '{"taken":', '"number":', '"envelope":"', "}", "1e999", "-1", "null", "[]", "\0"],
  run(input) {
    for (const { number, bundle, envelope } of readEntries(text(input), "/b")) {
      assert.ok(Number.isSafeInteger(number) && bundle === "/b");
      assert.equal(typeof envelope.topic, "string");
    }
  },
};

export const deadlinesTarget: FuzzTarget = {
  name: "deadlines",
  seeds: ["create=2m,kill=500ms", " exec=30s ,, restore=1h"].map(bytes),
  words: [",", "=", "ms", "s", "m", "h", "kill", "__proto__", "9999999999", "-", "\0"],
  run(input) {
    const deadlines = unlessRefused(() => parseDeadlines(text(input)));
    for (const durationMs of Object.values(deadlines ?? {})) {
      assert.ok(durationMs > 0 && durationMs < 2 ** 31);
    }
  },
};

/** The first byte says where the rest is cut in two. */
export const logRecordTarget: FuzzTarget = {
  name: "log-record",
  seeds: ["\u0003one\ntwo", "\u0001\u20ac\u{1f40b}\n", "\u0002\n\n"].map(bytes),
  words: ["\n", "\u20ac", "\u{10ffff}", "\r", "\0", '"', "\\"],
  run(input) {
    const output = input.subarray(1);
    const cut = Math.min(input[0] ?? 0, output.length);
    for (const format of ["raw", "cri", "json"] as const) {
      const formatter = new LogFormatter(format, "stdout");
      const records = [
        ...formatter.format(output.subarray(0, cut), 0),
        ...formatter.format(output.subarray(cut), 0),
        ...formatter.finish(0),
      ];
      const carried = records.reduce((sum, { payload }) => sum + payload, 0);
      assert.equal(carried, output.length);
      const written = Buffer.concat(records.map((record) => record.bytes));
      if (format === "raw") assert.ok(written.equals(output));
      else if (written.length > 0) assert.equal(written.at(-1), 10);
      if (format !== "json") continue;
      for (const line of written.toString().split("\n").slice(0, -1)) JSON.parse(line);
    }
  },
};
