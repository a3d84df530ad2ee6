/**
 * The one gate: format and lint, types, generated code unchanged, layering and tests.
 * Runs every step, so that one run shows everything that is wrong.
 *
 *     npm run check             everything
 *     npm run check -- unit     with the tests of one suite (see test.ts)
 */

import { join } from "node:path";
import { execa } from "execa";

const root = join(import.meta.dirname, "..");
const bun = process.execPath;
const tests = process.argv.slice(2);

/** The layers are judged by test/tidy.test.ts, first among them as it takes no time. */
const steps: readonly (readonly [string, readonly [string, ...string[]]])[] = [
  ["format and lint", ["biome", "check", "--error-on-warnings", "--max-diagnostics=50"]],
  ["types", ["tsc", "-p", "."]],
  ["generated code", [bun, "scripts/generate.ts", "--check"]],
  ["layers", [bun, "scripts/test.ts", "test/tidy.test.ts"]],
  ["build", [bun, "scripts/build.ts"]],
  ["tests", [bun, "scripts/test.ts", ...tests]],
];

const failed: string[] = [];
for (const [name, [command, ...args]] of steps) {
  console.log(`== ${name}`);
  const result = await execa(command, args, {
    cwd: root,
    reject: false,
    preferLocal: true,
    stdin: "ignore",
    stdout: "inherit",
    stderr: "inherit",
  });
  if (result.failed) failed.push(name);
}
console.log(failed.length === 0 ? "check passed" : `check failed: ${failed.join(", ")}`);
process.exitCode = failed.length === 0 ? 0 : 1;
