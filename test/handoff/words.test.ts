import { describe, expect, test } from "bun:test";
import { ownWords, wordsFor } from "../../src/handoff/words.ts";
import { commandLine } from "../../src/linux/program.ts";

const [own = ""] = commandLine();
const invoked = {
  ownWordCount: 1,
  flags: ["-id", "c1", "-namespace", "ns"],
  ownPath: "/opt/wedge",
};

describe("the command line of", () => {
  test("this very program is the words that name it, then the shim's flags", () => {
    expect(ownWords(invoked)).toEqual([own, "-id", "c1", "-namespace", "ns"]);
  });

  test("what stands at the same path now is named as this one was", () => {
    expect(wordsFor("/opt/wedge", invoked)).toEqual([own]);
  });

  test("another program is its path", () => {
    const path = "/new/containerd-shim-wedge-v2";
    expect(wordsFor(path, invoked)).toEqual([path]);
  });

  test("another program under its short name is the executable beside it, to be a shim", () => {
    expect(wordsFor("/new/shim", invoked)).toEqual(["/new/containerd-shim-wedge-v2"]);
  });
});
