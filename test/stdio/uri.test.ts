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
    ["file:///a%20b?max-size=1", "/a b"],
    ["file:/a", "/a"],
    ["FILE:///a", "/a"],
  ])("%p is the file %p", (text, path) => {
    expect(parseTarget(text)).toEqual({ kind: "file", path });
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
