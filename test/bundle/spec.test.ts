import { describe, expect, test } from "bun:test";
import { parseSpec } from "../../src/bundle/spec.ts";

function spec(value: unknown) {
  return parseSpec(JSON.stringify(value), "/bundle/config.json");
}

describe("parseSpec()", () => {
  test.each([
    [[{ type: "pid" }], true],
    [[{ type: "pid", path: "" }], true],
    [[{ type: "mount" }, { type: "pid" }], true],
    [[{ type: "pid", path: "/proc/1/ns/pid" }], false],
    [[{ type: "mount" }], false],
    [[], false],
    [undefined, false],
  ])("namespaces %j: own pid namespace %p", (namespaces, own) => {
    expect(spec({ linux: { namespaces } }).hasOwnPidNamespace).toBe(own);
  });

  test("annotations are those that are text", () => {
    const { annotations } = spec({ annotations: { a: "b", c: 4, d: null } });
    expect([...annotations]).toEqual([["a", "b"]]);
  });

  test("terminal and console size are taken where they are of their type", () => {
    expect(
      spec({ process: { terminal: true, consoleSize: { width: 80, height: 24 } } }),
    ).toMatchObject({
      terminal: true,
      consoleSize: { columns: 80, rows: 24 },
    });
    expect(
      spec({ process: { terminal: "yes", consoleSize: { width: 0, height: 24 } } }),
    ).toMatchObject({
      terminal: false,
      consoleSize: undefined,
    });
  });

  test.each([["[]"], ["null"], ["3"]])("%s is refused as no object", (text) => {
    expect(() => parseSpec(text, "/b/config.json")).toThrow("it is not a JSON object");
  });

  test("broken JSON is refused with the path", () => {
    expect(() => parseSpec("{", "/b/config.json")).toThrow("Cannot parse /b/config.json");
  });

  test("a prototype is no property", () => {
    expect(spec({ linux: {} }).rootPath).toBeUndefined();
    expect(parseSpec('{"__proto__":{"root":{"path":"/x"}}}', "c").rootPath).toBeUndefined();
  });
});
