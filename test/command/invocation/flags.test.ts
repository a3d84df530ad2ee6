import { describe, expect, test } from "bun:test";
import type { Variables } from "../../../src/base/variables.ts";
import {
  type Invocation,
  inheritanceEntries,
  parseInvocation,
} from "../../../src/command/invocation/flags.ts";

function parse(args: readonly string[], variables: Variables = {}): Invocation {
  const parsed = parseInvocation("wedge", args, variables);
  if (parsed.kind !== "invocation") throw new Error(parsed.text);
  return parsed.invocation;
}

describe("parseInvocation()", () => {
  test.each<[string, readonly string[], Partial<Invocation>]>([
    ["nothing is serve", [], { action: "serve", namespace: "", id: "", isDebug: false }],
    ["a value follows", ["-id", "a", "start"], { action: "start", id: "a" }],
    ["a value is joined", ["-id=a", "start"], { action: "start", id: "a" }],
    ["two dashes", ["--id", "a", "--namespace=n"], { action: "serve", id: "a", namespace: "n" }],
    ["a value may be empty", ["-id=", "delete"], { action: "delete", id: "" }],
    ["a value may look like a flag", ["-id", "-debug"], { id: "-debug", isDebug: false }],
    ["a value may hold =", ["-address=/a=b"], { address: "/a=b" }],
    ["the last one counts", ["-id", "a", "-id", "b"], { id: "b" }],
    ["a switch", ["-debug", "start"], { action: "start", isDebug: true }],
    ["a switch on", ["-debug=T"], { isDebug: true }],
    ["a switch off", ["-debug=0"], { isDebug: false }],
    ["flags end at the action", ["start", "-id", "a"], { action: "start", id: "" }],
    ["flags end at --", ["-id", "a", "--", "delete"], { action: "delete", id: "a" }],
    ["-v", ["-v"], { action: "version" }],
    ["--version", ["--version"], { action: "version" }],
    ["-v wins over the action", ["-v", "start"], { action: "version" }],
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
  ])("%s", (_name, args, wanted) => {
    expect(parse(args)).toMatchObject(wanted);
  });

  test.each([
    [["-nope"], "flag provided but not defined: -nope", 2],
    [["--nope=1"], "flag provided but not defined: -nope", 2],
    [["-toString"], "flag provided but not defined: -toString", 2],
    [["-id"], "flag needs an argument: -id", 2],
    [["-debug=maybe"], 'invalid boolean value "maybe" for -debug: parse error', 2],
    [["---id", "x"], "bad flag syntax: ---id", 2],
    [["-=x"], "bad flag syntax: -=x", 2],
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

  test("the variables of containerd 1.6 leave the later ones undefined", () => {
    const { environment } = parse([], { TTRPC_ADDRESS: "/t", GOMAXPROCS: "2" });
    expect(environment).toMatchObject({
      ttrpcAddress: "/t",
      grpcAddress: "",
      namespace: undefined,
      maxShimVersion: undefined,
      isCoreScheduled: false,
      deadlines: "",
      protocol: "",
    });
  });

  test("the variables of containerd 1.7 and later are taken", () => {
    const variables = {
      TTRPC_ADDRESS: "/t",
      GRPC_ADDRESS: "/g",
      NAMESPACE: "n",
      MAX_SHIM_VERSION: "2",
      SCHED_CORE: "1",
      WEDGE_DEADLINES: "kill=5s",
      WEDGE_PROTOCOL: "grpc",
    };
    expect(parse([], variables).environment).toEqual({
      ttrpcAddress: "/t",
      grpcAddress: "/g",
      namespace: "n",
      maxShimVersion: 2,
      isCoreScheduled: true,
      launcher: undefined,
      inheritance: { oomScore: undefined, hasHugePages: undefined },
      deadlines: "kill=5s",
      protocol: "grpc",
      variables,
    });
  });

  test.each([
    { oomScore: -998, hasHugePages: true },
    { oomScore: 0, hasHugePages: false },
  ])("what start says of the daemon's children is read back: %j", (inheritance) => {
    const variables = Object.fromEntries(
      inheritanceEntries(inheritance).map((entry) => entry.split("=")),
    );
    expect(parse([], variables).environment.inheritance).toEqual(inheritance);
  });

  test("a version that is no number counts as none", () => {
    expect(parse([], { MAX_SHIM_VERSION: "x" }).environment.maxShimVersion).toBeUndefined();
  });
});
