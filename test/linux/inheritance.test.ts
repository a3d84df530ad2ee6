import { afterEach, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { Children } from "../../src/linux/children.ts";
import { openMemoryFile } from "../../src/linux/fd.ts";
import { disablesHugePages, setHugePagesDisabled } from "../../src/linux/huge-pages.ts";
import { type Inheritance, lendInheritance } from "../../src/linux/inheritance.ts";
import { readOomScore, writeOomScore } from "../../src/linux/oom-score.ts";
import { Poller } from "../../src/linux/poller.ts";
import { withoutDescriptors } from "./no-descriptors.ts";

const given = readOomScore("self");
const hadHugePages = !disablesHugePages();

afterEach(() => {
  writeOomScore("self", given);
  setHugePagesDisabled(!hadHugePages);
});

/** Spawns a program that spawns another, and gives what that one says of itself: score, huge pages. */
async function grandchild(inheritance: Inheritance): Promise<string> {
  using poller = new Poller();
  using children = new Children({ poller, reapStrays: false, inheritance });
  using out = openMemoryFile("out");
  const script =
    "sh -c 'cat /proc/$$/oom_score_adj; grep THP_enabled /proc/$$/status; exit 3'; exit $?";
  const argv = ["/bin/sh", "-c", script];
  const { exited } = children.spawn({ argv, env: [], stdio: [undefined, out.fd, out.fd] });
  expect((await exited).status).toBe(3);
  return readFileSync(`/proc/self/fd/${out.fd}`, "utf8").replace(/\s+/g, " ").trim();
}

describe("Children with an inheritance", () => {
  test.each([
    [true, "THP_enabled: 1"],
    [false, "THP_enabled: 0"],
  ])(
    "gives a child its score, and huge pages: %p; this process keeps its own",
    async (pages, text) => {
      const own = Math.min(given + 1, 1000);
      writeOomScore("self", own);
      setHugePagesDisabled(true);
      const told = await grandchild({ oomScore: given, hasHugePages: pages });
      expect(told).toBe(`${given} ${text}`);
      expect(readOomScore("self")).toBe(own);
      expect(disablesHugePages()).toBe(true);
    },
  );

  test("a spawn that fails leaves this process as it was", () => {
    using poller = new Poller();
    const inheritance = { oomScore: given, hasHugePages: true };
    using children = new Children({ poller, reapStrays: false, inheritance });
    const own = Math.min(given + 1, 1000);
    writeOomScore("self", own);
    setHugePagesDisabled(true);
    expect(() => children.spawn({ argv: ["/no/such"], env: [], stdio: [] })).toThrow(
      "no such file",
    );
    expect([readOomScore("self"), disablesHugePages()]).toEqual([own, true]);
  });

  test("what was lent is taken back when no descriptor is left", async () => {
    const own = Math.min(given + 1, 1000);
    writeOomScore("self", own);
    const lent = lendInheritance({ oomScore: given, hasHugePages: undefined });
    expect(readOomScore("self")).toBe(given);
    await withoutDescriptors(async () => lent[Symbol.dispose]());
    expect(readOomScore("self")).toBe(own);
  });

  test("without one a child has what this process has", async () => {
    writeOomScore("self", Math.min(given + 2, 1000));
    setHugePagesDisabled(true);
    const told = await grandchild({ oomScore: undefined, hasHugePages: undefined });
    expect(told).toBe(`${Math.min(given + 2, 1000)} THP_enabled: 0`);
  });
});
