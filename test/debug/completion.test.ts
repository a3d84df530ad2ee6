/** Completions and the man page, read by the programs that they are for. */

import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { completionScript, type Shell } from "../../src/debug/completion.ts";
import { manualPage } from "../../src/debug/manual.ts";
import { Output } from "../../src/debug/output/output.ts";
import { makeProgram } from "../../src/debug/program.ts";
import { describeProgram } from "../../src/debug/program-words.ts";
import { VERBS } from "../../src/debug/verbs.ts";

const context = { variables: {}, output: new Output({}), exitCode: 0 };
const verbs = describeProgram(await makeProgram(VERBS, context));
const folder = mkdtempSync(join(tmpdir(), "wedge-completion-"));
afterAll(() => rmSync(folder, { recursive: true }));

// In the place of the command that the scripts ask for containers: which there are is not the point here.
const command = join(folder, "shim");
writeFileSync(
  command,
  '#!/bin/sh\n[ "$1 $2" = "ps --quiet" ] && printf "default/web\\nk8s.io/pod\\n"\n',
);
chmodSync(command, 0o755);
const env = { PATH: `${folder}:${process.env["PATH"] ?? ""}`, HOME: folder, TERM: "dumb" };

function scriptFile(shell: Shell): string {
  const path = join(folder, `script.${shell}`);
  writeFileSync(path, completionScript(shell, verbs));
  return path;
}

async function run(argv: readonly string[], input = ""): Promise<string> {
  const child = Bun.spawn([...argv], {
    env,
    stdin: Buffer.from(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  expect({ code: await child.exited, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout;
}

const LINES = [
  ["shim insp", ["inspect"]],
  ["shim ps --j", ["--json"]],
  ["shim inspect k8", ["k8s.io/pod"]],
  ["shim top --sort me", ["memory"]],
] as const;

describe("bash", () => {
  test.each([...LINES])("completes %s", async (line, expected) => {
    const words = line.split(" ");
    const script = `source ${scriptFile("bash")}
      COMP_WORDS=(${words.join(" ")}); COMP_CWORD=${words.length - 1}; _shim; printf '%s\\n' "\${COMPREPLY[@]}"`;
    expect((await run(["bash", "--norc", "-c", script])).trim().split("\n")).toEqual([...expected]);
  });
});

describe("fish", () => {
  test.each([...LINES])("completes %s", async (line, expected) => {
    const script = `source ${scriptFile("fish")}; complete -C '${line}'`;
    const found = (await run(["fish", "--no-config", "-c", script])).trim().split("\n");
    expect(found.map((each) => each.split("\t")[0] ?? "")).toEqual([...expected]);
  });
});

describe("zsh", () => {
  test("takes the script, and knows it for this command's", async () => {
    const script = `autoload -U compinit; compinit -u -D; source ${scriptFile("zsh")}; print $_comps[shim]`;
    expect((await run(["zsh", "-f", "-c", script])).trim()).toBe("_shim");
  });

  test("is told every verb", () => {
    const script = completionScript("zsh", verbs);
    for (const { name, summary } of verbs) {
      expect(script).toContain(`'${`${name}:${summary}`.replaceAll("'", "'\\''")}'`);
    }
  });
});

describe("the man page", () => {
  test("is read without a warning, and has every verb, flag and topic", async () => {
    const text = await run(["groff", "-man", "-Tascii", "-ww", "-P-cbou"], manualPage(verbs));
    const flat = text.replaceAll(/\s+/g, " ");
    for (const { name, flags } of verbs) {
      expect(flat).toContain(`shim ${name}`);
      for (const { long } of flags) expect(flat).toContain(long);
    }
    expect(flat).toContain("EXIT CODES");
    expect(flat).toContain("HOW A CONTAINER IS NAMED");
  });
});
