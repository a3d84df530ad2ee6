import { describe, expect, test } from "bun:test";
import { type Flags, parseFlags, refuse } from "../../../src/command/invocation/flags.ts";

const set = {
  program: "prog",
  definitions: {
    name: { isBoolean: false, usage: "who it is" },
    place: { isBoolean: false, usage: "" },
    loud: { isBoolean: true, usage: "say more" },
    q: { isBoolean: true, usage: "" },
  },
};

const usage = `Usage of prog:
  -name string
    \twho it is
  -place string
  -loud
    \tsay more
  -q
`;

function parse(args: readonly string[]): Flags {
  const parsed = parseFlags(set, args);
  if (parsed.kind !== "flags") throw new Error(parsed.text);
  return parsed;
}

describe("parseFlags()", () => {
  test.each<[string, readonly string[], Readonly<Record<string, string>>, readonly string[]]>([
    ["nothing", [], {}, []],
    ["a value follows", ["-name", "a", "go"], { name: "a" }, ["go"]],
    ["a value is joined", ["-name=a", "go"], { name: "a" }, ["go"]],
    ["two dashes", ["--name", "a", "--place=b"], { name: "a", place: "b" }, []],
    ["a value may be empty", ["-name=", "go"], { name: "" }, ["go"]],
    ["a value may look like a flag", ["-name", "-loud"], { name: "-loud" }, []],
    ["a value may hold =", ["-name=/a=b"], { name: "/a=b" }, []],
    ["a value may hold a line's end", ["-name=a\nb"], { name: "a\nb" }, []],
    ["the last one counts", ["-name", "a", "-name", "b"], { name: "b" }, []],
    ["flags end at the first other word", ["go", "-name", "a"], {}, ["go", "-name", "a"]],
    ["flags end at --", ["-name", "a", "--", "-loud"], { name: "a" }, ["-loud"]],
    ["a dash alone is no flag", ["-", "-loud"], {}, ["-", "-loud"]],
    ["nor is an empty word", ["", "-loud"], {}, ["", "-loud"]],
  ])("%s", (_name, args, texts, rest) => {
    const flags = parse(args);
    expect(Object.fromEntries(flags.texts)).toEqual(texts);
    expect([...flags.switches]).toEqual([]);
    expect(flags.rest).toEqual(rest);
  });

  test.each([
    [["-loud"], ["loud"]],
    [
      ["-loud", "-q"],
      ["loud", "q"],
    ],
    [["--loud=T"], ["loud"]],
    [["-loud=0"], []],
    [["-loud=false", "-loud"], ["loud"]],
    [["-loud", "-loud=false"], []],
  ])("%j switches on %j", (args, switches) => {
    expect([...parse(args).switches]).toEqual(switches);
  });

  test.each([
    [["-nope"], "flag provided but not defined: -nope"],
    [["--nope=1"], "flag provided but not defined: -nope"],
    [["-toString"], "flag provided but not defined: -toString"],
    [["-name"], "flag needs an argument: -name"],
    [["-loud=maybe"], 'invalid boolean value "maybe" for -loud: parse error'],
    [["---name", "x"], "bad flag syntax: ---name"],
    [["-=x"], "bad flag syntax: -=x"],
    [["--=x"], "bad flag syntax: --=x"],
  ])("%j is refused with '%s'", (args, reason) => {
    expect(parseFlags(set, args)).toEqual(refuse(set, reason));
  });

  test.each([[["-h"]], [["--help"]], [["-loud", "-h=x", "-nope"]]])("%j asks for help", (args) => {
    expect(parseFlags(set, args)).toEqual({ kind: "usage", text: usage, exitCode: 0 });
  });
});

test("refuse() says why, then what the flags are, and exits with 2", () => {
  const text = `unknown word\n${usage}`;
  expect(refuse(set, "unknown word")).toEqual({ kind: "usage", text, exitCode: 2 });
});
