import { describe, expect, test } from "bun:test";
import { OpenedStdio } from "../../src/stdio/opened-stdio.ts";
import type { Part } from "../../src/stdio/part.ts";

/** Notes what it is told, and throws as it notes it. */
function partOf(name: string, told: string[], isBroken = false): Part {
  const note = (what: string) => {
    told.push(`${name} ${what}`);
    if (isBroken) throw new Error(`${name} is broken`);
  };
  return {
    attach: () => {},
    processExited: () => note("exited"),
    drained: Promise.resolve(),
    close: async () => note("closed"),
    descriptors: () => [],
    snapshot: () => undefined,
  };
}

describe("stdio with a part that fails", () => {
  test("tells and closes the others all the same, and says what failed first", async () => {
    const told: string[] = [];
    const stdio = new OpenedStdio();
    stdio.add(partOf("a", told, true));
    stdio.add(partOf("b", told, true));
    stdio.add(partOf("c", told));
    await stdio.attach();
    expect(() => stdio.processExited()).toThrow("a is broken");
    expect(told.splice(0)).toEqual(["a exited", "b exited", "c exited"]);
    await expect(stdio.close()).rejects.toThrow("a is broken");
    expect(told).toEqual(["a closed", "b closed", "c closed"]);
  });
});
