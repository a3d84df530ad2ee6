import { describe, expect, test } from "bun:test";
import { type Invocation, parseInvocation } from "../../../src/command/invocation/invocation.ts";

describe("parseInvocation()", () => {
  test.each<[string, readonly string[], Partial<Invocation>]>([
    ["nothing is serve", [], { action: "serve", namespace: "", id: "", isDebug: false }],
    ["flags alone are serve", ["-id", "a", "--namespace=n"], { action: "serve", namespace: "n" }],
    ["the word after the flags", ["-id=a", "start"], { action: "start", id: "a" }],
    ["the word after --", ["-id", "a", "--", "delete"], { action: "delete", id: "a" }],
    ["flags after the action", ["start", "-id", "a"], { action: "start", id: "" }],
    ["-debug", ["-debug", "start"], { action: "start", isDebug: true }],
    ["-debug=0", ["-debug=0"], { isDebug: false }],
    ["-v", ["-v"], { action: "version" }],
    ["--version", ["--version"], { action: "version" }],
    ["-v wins over the action", ["-v", "start"], { action: "version" }],
    ["-v wins over one that is not known", ["-v", "stop"], { action: "version" }],
    ["-v=false", ["-v=false", "start"], { action: "start" }],
    ["-info", ["-info"], { action: "info" }],
    [
      "as containerd calls start",
      "-namespace k -address /c.sock -publish-binary /bin/c -id x -debug start".split(" "),
      { action: "start", namespace: "k", address: "/c.sock", publishBinary: "/bin/c", id: "x" },
    ],
    [
      "as containerd calls delete",
      "-namespace k -address /c.sock -publish-binary /bin/c -id x -bundle /b/x delete".split(" "),
      { action: "delete", bundle: "/b/x", isDebug: false },
    ],
    [
      "a socket, and one that is not served",
      ["-debug-socket", "/d", "-socket", "/s"],
      { socket: "/s" },
    ],
  ])("%s", (_name, args, invocation) => {
    expect(parseInvocation("wedge", args, {})).toMatchObject({ kind: "invocation", invocation });
  });

  test("the variables are the environment", () => {
    const invocation = { environment: { ttrpcAddress: "/t" } };
    expect(parseInvocation("wedge", [], { TTRPC_ADDRESS: "/t" })).toMatchObject({ invocation });
  });

  test.each([
    [["-nope"], "flag provided but not defined: -nope", 2],
    [["-toString"], "flag provided but not defined: -toString", 2],
    [["stop"], "unknown action: stop", 2],
    [["-"], "unknown action: -", 2],
    [["-h"], "Usage of wedge:", 0],
    [["-help"], "Usage of wedge:", 0],
  ])("%j prints '%s' and exits with %d", (args, text, exitCode) => {
    const parsed = parseInvocation("wedge", args, {});
    expect(parsed).toMatchObject({ kind: "usage", exitCode });
    if (parsed.kind !== "usage") return;
    expect(parsed.text.split("\n")[0]).toBe(text);
    expect(parsed.text).toContain("  -namespace string\n");
  });
});
