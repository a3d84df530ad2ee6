/**
 * Runs the tests, each file in a process of its own, so that no file's children, signal handlers or
 * descriptors reach another's. The last line is the sum: `N passed, N failed`.
 *
 *     npm test                              everything
 *     npm test -- unit                      one suite: unit, integration or e2e
 *     npm test -- test/linux mount.test     the files whose paths contain one of these
 *     npm test -- --verbose                 with the output of files that pass
 *     npm test -- --again                   a file that fails is run once more, and is named at the end
 */

import { closeSync, openSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { Glob } from "bun";

const root = join(import.meta.dirname, "..");

interface Suite {
  readonly name: string;
  /** Files that run concurrently. */
  readonly concurrency: number;
  readonly testTimeoutMs: number;
  /** For a whole file; past it the file is killed and has failed. */
  readonly fileTimeoutMs: number;
}

/** In the order in which they run. The files of `test/<name>`; unit has everything in no other suite. */
const suites: readonly Suite[] = [
  {
    name: "unit",
    concurrency: availableParallelism(),
    testTimeoutMs: 30_000,
    fileTimeoutMs: 300_000,
  },
  { name: "integration", concurrency: 1, testTimeoutMs: 60_000, fileTimeoutMs: 600_000 },
  // Each file has daemons in namespaces of its own.
  { name: "e2e", concurrency: 2, testTimeoutMs: 120_000, fileTimeoutMs: 900_000 },
];

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

const nothing: Counts = { passed: 0, failed: 0, skipped: 0 };

function add(a: Counts, b: Counts): Counts {
  return {
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
  };
}

function toText({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

/** The counts of a JUnit report; undefined when `xml` is not one. */
function parseReport(xml: string): Counts | undefined {
  const attributes = /<testsuites\s([^>]*)>/.exec(xml)?.[1];
  if (attributes === undefined) return undefined;
  const count = (name: string) =>
    Number(new RegExp(`\\b${name}="(\\d+)"`).exec(attributes)?.[1] ?? 0);
  const failed = count("failures") + count("errors");
  const skipped = count("skipped");
  return { passed: count("tests") - failed - skipped, failed, skipped };
}

/** Runs one file and prints how it went. */
async function runFile(file: string, suite: Suite, isVerbose: boolean): Promise<Counts> {
  const folder = await mkdtemp(join(tmpdir(), "wedge-report-"));
  const report = join(folder, "report.xml");
  // A file, not a pipe: whatever a test leaves behind may hold the output open forever.
  const outputPath = join(folder, "output");
  const output = openSync(outputPath, "a");
  const startedAtMs = performance.now();
  const child = Bun.spawn({
    cmd: [
      ...[process.execPath, "test", `./${file}`, `--timeout=${suite.testTimeoutMs}`],
      ...["--reporter=junit", `--reporter-outfile=${report}`],
    ],
    cwd: root,
    stdio: ["ignore", output, output],
    timeout: suite.fileTimeoutMs,
    killSignal: "SIGKILL",
  });
  const exitCode = await child.exited;
  closeSync(output);
  const text = await Bun.file(outputPath).text();
  const xml = Bun.file(report);
  const reported = (await xml.exists()) ? parseReport(await xml.text()) : undefined;
  await rm(folder, { recursive: true, force: true });
  let counts = reported ?? nothing;
  // A file that dies, or fails outside its tests, has no failed test to show for it.
  if (exitCode !== 0 && counts.failed === 0) counts = add(counts, { ...nothing, failed: 1 });
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
  const verdict = counts.failed > 0 ? "FAIL" : "ok  ";
  if (counts.failed > 0 || isVerbose) console.log(`\n${text}`);
  if (child.signalCode !== null) console.log(`${file} ended by ${child.signalCode}`);
  console.log(`${verdict} ${file}: ${toText(counts)} (${seconds} s)`);
  return counts;
}

interface RunOptions {
  readonly isVerbose: boolean;
  /** A file that fails has a second chance: for machines on which a failure is not looked into at once. */
  readonly runsAgain: boolean;
}

/** Files that failed and then passed: each hides a race, in wedge or in its test. */
const unsteady: string[] = [];

/** Runs the files of one suite, the next as soon as a slot is free. */
async function runSuite(
  suite: Suite,
  files: readonly string[],
  { isVerbose, runsAgain }: RunOptions,
): Promise<Counts> {
  const waiting = [...files];
  let sum = nothing;
  const place = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      let counts = await runFile(file, suite, isVerbose);
      if (counts.failed > 0 && runsAgain) {
        counts = await runFile(file, suite, isVerbose);
        if (counts.failed === 0) unsteady.push(file);
      }
      sum = add(sum, counts);
    }
  };
  await Promise.all(Array.from({ length: suite.concurrency }, place));
  return sum;
}

function suiteOf(file: string): string {
  const folder = file.split("/")[1] ?? "";
  return suites.some(({ name }) => name === folder) ? folder : "unit";
}

/** The test files that `wanted` names: suites, or parts of paths; all of them when it names none. */
function findFiles(wanted: readonly string[]): readonly string[] {
  const files = [...new Glob("test/**/*.test.ts").scanSync(root)].sort();
  if (wanted.length === 0) return files;
  return files.filter((file) =>
    wanted.some((word) =>
      suites.some(({ name }) => name === word)
        ? suiteOf(file) === word
        : file.includes(word.replace(/^\.\//, "")),
    ),
  );
}

/** Runs what `words` name and returns the sum. */
async function run(words: readonly string[]): Promise<Counts> {
  const files = findFiles(words.filter((word) => !word.startsWith("-")));
  const options = {
    isVerbose: words.includes("--verbose"),
    runsAgain: words.includes("--again"),
  };
  let total = nothing;
  for (const suite of suites) {
    const own = files.filter((file) => suiteOf(file) === suite.name);
    total = add(total, await runSuite(suite, own, options));
  }
  return total;
}

const total = await run(process.argv.slice(2));
if (total.passed + total.failed === 0) console.log("no test ran");
if (unsteady.length > 0) console.log(`failed once, then passed: ${unsteady.join(", ")}`);
console.log(toText(total));
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
