/** What holds for every verb of the debugging command, whatever it does. */

import { describe, expect, test } from "bun:test";
import { Output } from "../../src/debug/output/output.ts";
import { makeProgram, runProgram } from "../../src/debug/program.ts";
import { EXIT_USAGE } from "../../src/debug/refusal.ts";
import { type Context, examplesOf } from "../../src/debug/verb.ts";
import { VERBS } from "../../src/debug/verbs.ts";

const context: Context = { variables: {}, output: new Output({}), exitCode: 0 };
const program = await makeProgram(VERBS, context);

describe.each(program.commands.map((command) => [command.name(), command] as const))(
  "shim %s",
  (name, command) => {
    test("is the command of its entry, with a summary and a description", () => {
      expect(VERBS.map((verb) => verb.name)).toContain(name);
      expect(command.summary()).toMatch(/^[a-z].*[^.]$/);
      expect(command.description()).toMatch(/\.$/);
    });

    test("has examples that begin with its name and use flags that it has", () => {
      const examples = examplesOf(command);
      expect(examples.length).toBeGreaterThan(0);
      const known = command.options.flatMap(({ long, short }) => [long, short]);
      for (const { line } of examples) {
        if (name !== "run") expect(line).toContain(`shim ${name}`);
        const own = line.slice(line.indexOf("shim")).split(" | ")[0]?.split(" -- ")[0] ?? "";
        const flags = own.split(" ").filter((word) => /^--?[a-z]/.test(word));
        expect(flags.filter((flag) => !known.includes(flag.split("=")[0]))).toEqual([]);
      }
    });

    test("explains every flag and argument", () => {
      for (const { description } of [...command.options, ...command.registeredArguments]) {
        expect(description).not.toBe("");
      }
    });
  },
);

test.each(["abc", "0", "1.5", ""])("shim top --count %p is a usage error", async (count) => {
  await expect(runProgram(program, ["top", "--count", count])).rejects.toMatchObject({
    exitCode: EXIT_USAGE,
  });
});
