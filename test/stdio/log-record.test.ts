import { describe, expect, test } from "bun:test";
import { LogFormatter } from "../../src/stdio/log-record.ts";

const AT_MS = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const TIME = "2026-01-02T03:04:05.678000000Z";

/** What a file has after these chunks, and the end of the stream. */
function written(
  format: "raw" | "cri" | "json",
  chunks: readonly (string | Uint8Array)[],
  stream: "stdout" | "stderr" = "stdout",
): string {
  const formatter = new LogFormatter(format, stream);
  const records = chunks.flatMap((chunk) => formatter.format(Buffer.from(chunk), AT_MS));
  const all = [...records, ...formatter.finish(AT_MS)];
  const payload = all.reduce((sum, record) => sum + record.payload, 0);
  expect(payload).toBe(chunks.reduce((sum, chunk) => sum + Buffer.from(chunk).length, 0));
  return Buffer.concat(all.map(({ bytes }) => bytes)).toString();
}

describe("CRI records", () => {
  test("are a line each", () => {
    expect(written("cri", ["one\ntwo\n\n"], "stderr")).toBe(
      `${TIME} stderr F one\n${TIME} stderr F two\n${TIME} stderr F \n`,
    );
  });

  test("of a line that comes in pieces are partial until its end", () => {
    expect(written("cri", ["on", "e\ntwo"])).toBe(
      `${TIME} stdout P on\n${TIME} stdout F e\n${TIME} stdout P two\n${TIME} stdout F \n`,
    );
  });

  test("have 16 KiB of a line at most", () => {
    const lines = written("cri", ["x".repeat(40_000), "\n"])
      .slice(0, -1)
      .split("\n");
    expect(lines.map((line) => [line.split(" ")[2], line.split(" ")[3]?.length])).toEqual([
      ["P", 16384],
      ["P", 16384],
      ["P", 7232],
      ["F", 0],
    ]);
  });

  test("carry any byte", () => {
    const formatter = new LogFormatter("cri", "stdout");
    const [record] = formatter.format(Buffer.of(0xff, 0, 10), AT_MS);
    expect(record?.bytes.subarray(-3)).toEqual(new Uint8Array([0xff, 0, 10]));
  });
});

describe("JSON records", () => {
  const json = (log: string) => `${JSON.stringify({ log, stream: "stdout", time: TIME })}\n`;

  test("are a line each, with its end", () => {
    expect(written("json", ['say "hi"\n', "end"])).toBe(json('say "hi"\n') + json("end"));
  });

  test("never cut a character that came in pieces", () => {
    const bytes = Buffer.from("a\u20ac\u{1f40b}z\n");
    for (let cut = 1; cut < bytes.length; cut++) {
      const text = written("json", [bytes.subarray(0, cut), bytes.subarray(cut)]);
      const logs = text.trim().split("\n");
      expect(logs.map((line) => JSON.parse(line).log).join("")).toBe(bytes.toString());
    }
  });

  test("replace what is no text", () => {
    expect(written("json", [Buffer.of(0xff, 0x61, 10)])).toBe(json("\ufffda\n"));
    expect(written("json", [Buffer.of(0xe2, 0x82)])).toBe(json("\ufffd"));
  });
});

test("raw records are the bytes", () => {
  expect(written("raw", ["a\nb", "c\n", "d"])).toBe("a\nbc\nd");
});

test("what is in hand can be handed over", () => {
  const first = new LogFormatter("json", "stdout");
  first.format(Buffer.of(0x61, 0xe2, 0x82), AT_MS);
  const second = new LogFormatter("json", "stdout");
  second.restore(first.state);
  const [record] = second.format(Buffer.of(0xac, 10), AT_MS);
  expect(JSON.parse(Buffer.from(record?.bytes ?? []).toString()).log).toBe("\u20ac\n");
});
