/** Builds of wedge with something in them that is not in wedge: a bug, a leak. */

import { strict as assert } from "node:assert";
import { cpSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const PROJECT = join(import.meta.dir, "../..");
const SOURCES = ["src", "package.json", "package-lock.json", "tsconfig.json", "scripts"];

export interface Change {
  /** Below the project's directory. */
  readonly file: string;
  /** Must be there. */
  readonly from: string;
  readonly to: string;
  /** More at the beginning of the file. */
  readonly head?: string;
  /** More files of the project that are built in. */
  readonly additions?: readonly string[];
}

/** Builds a changed copy in `directory`; returns the path of the executable. */
export function buildVariant(directory: string, change: Change): string {
  for (const name of [...SOURCES, ...(change.additions ?? [])])
    cpSync(join(PROJECT, name), join(directory, name), { recursive: true });
  symlinkSync(join(PROJECT, "node_modules"), join(directory, "node_modules"));
  const file = join(directory, change.file);
  const source = readFileSync(file, "utf8");
  assert.ok(source.includes(change.from), `${change.file} has what is to be changed`);
  writeFileSync(file, `${change.head ?? ""}${source.replace(change.from, change.to)}`);
  const build = Bun.spawnSync([process.execPath, "scripts/build.ts"], { cwd: directory });
  assert.equal(build.exitCode, 0, build.stderr.toString());
  return join(directory, "dist/containerd-shim-wedge-v2");
}

/** One that never gives back `bytes` for each exec. */
export function buildLeaky(directory: string, bytes: number): string {
  const from = "  #exec(request: ExecProcessRequest): Empty {\n";
  return buildVariant(directory, {
    file: "src/service/task.ts",
    from,
    to: `${from}    leaked.push(new Uint8Array(${bytes}).fill(1));\n`,
    head: "const leaked: Uint8Array[] = [];\n",
  });
}
