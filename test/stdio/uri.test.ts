import { describe, expect, test } from "bun:test";
import { parseTarget } from "../../src/stdio/uri.ts";

describe("parseTarget()", () => {
  test.each([[""], ["/run/fifo/c1-stdout"], ["/run/a:b"], ["/run/100%"], ["relative"]])(
    "%p is a path",
    (text) => {
      expect(parseTarget(text)).toEqual({ kind: "path" });
    },
  );

  test.each([
    ["file:///var/log/c1.log", "/var/log/c1.log"],
    ["file:///a%20b?x=1", "/a b"],
    ["file:/a", "/a"],
    ["FILE:///a", "/a"],
  ])("%p is the file %p", (text, path) => {
    expect(parseTarget(text)).toEqual({ kind: "file", path, log: undefined });
  });

  test.each([
    ["max-size=1", "raw", 1, 5],
    ["max-size=10m&max-files=3", "raw", 10 * 1024 * 1024, 3],
    ["max-size=4KB&format=json", "json", 4096, 5],
    ["format=cri", "cri", undefined, 5],
    ["format=cri&max-size=1g&max-files=1&x=y", "cri", 1024 ** 3, 1],
  ])("%p asks for records: %s, %p bytes, %d files", (query, format, maxBytes, maxFiles) => {
    const log = { format, maxBytes, maxFiles };
    expect(parseTarget(`file:///a?${query}`)).toMatchObject({ kind: "file", path: "/a", log });
  });

  test.each([
    ["format=xml", "Cannot use format=xml of stdout uri: it takes raw, cri, json"],
    ["max-size=ten", "Cannot use max-size=ten of stdout uri: it takes a number of bytes"],
    ["max-size=0", "Cannot use max-size=0 of stdout uri: it takes a number of bytes"],
    ["max-size=-1", "Cannot use max-size=-1 of stdout uri"],
    ["max-size=99999999g", "Cannot use max-size=99999999g of stdout uri"],
    ["max-size=1&max-files=0", "Cannot use max-files=0 of stdout uri: it takes a number from 1 to"],
    ["max-size=1&max-files=1.5", "Cannot use max-files=1.5 of stdout uri"],
    ["max-files=3", "Cannot use max-files of stdout uri without max-size"],
  ])("%p is refused: %s", (query, message) => {
    expect(() => parseTarget(`file:///a?${query}`)).toThrow(message);
  });

  test("a binary gets the first value of each key, in order", () => {
    expect(parseTarget("binary:///bin/logger?b=2&a=1&b=3&c&d=%2Fx+y")).toEqual({
      kind: "binary",
      path: "/bin/logger",
      args: ["b", "2", "a", "1", "c", "", "d", "/x y"],
      mustAnswer: false,
    });
  });

  test("binary-v2 must answer", () => {
    expect(parseTarget("binary-v2:///bin/logger")).toMatchObject({ mustAnswer: true, args: [] });
  });

  test.each([
    ["npipe://./pipe/x", "unknown STDIO scheme npipe"],
    ["file://", "No absolute path in stdout uri: file://"],
    ["binary:logger", "No absolute path in stdout uri: binary:logger"],
    ["file:///%zz", "unable to parse stdout uri: file:///%zz"],
  ])("%p is refused: %s", (text, message) => {
    expect(() => parseTarget(text)).toThrow(message);
  });
});
