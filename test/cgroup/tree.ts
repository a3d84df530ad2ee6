/** Directories that stand for a cgroup file system, and real cgroups that are gone after the test. */

import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { childCgroups } from "../../src/cgroup/pids.ts";

/** A temporary directory, removed when disposed. */
export interface Tree extends Disposable {
  readonly path: string;
  /** Writes files by name relative to the tree; directories are made as needed. */
  write(files: Readonly<Record<string, string>>): void;
}

export function makeTree(files: Readonly<Record<string, string>> = {}): Tree {
  const path = mkdtempSync(join(tmpdir(), "wedge-cgroup-"));
  const write = (more: Readonly<Record<string, string>>) => {
    for (const [name, text] of Object.entries(more)) {
      mkdirSync(dirname(join(path, name)), { recursive: true });
      writeFileSync(join(path, name), text);
    }
  };
  write(files);
  return { path, write, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** A real cgroup below `parent`; disposing ends what runs in it and removes it with all below. */
export interface RealCgroup extends Disposable {
  readonly path: string;
}

let serial = 0;

export function makeCgroup(parent: string): RealCgroup {
  const path = join(parent, `wedge-test-${process.pid}-${serial++}`);
  mkdirSync(path);
  return { path, [Symbol.dispose]: () => removeCgroup(path) };
}

/** Removes a cgroup whose processes may be dying still; no error when it is gone. */
export function removeCgroup(path: string): void {
  for (const child of childCgroups(path)) removeCgroup(join(path, child));
  const deadline = Date.now() + 10_000;
  for (;;) {
    try {
      rmdirSync(path);
      return;
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return;
      if (Date.now() > deadline) throw error;
      killAll(path);
      Bun.sleepSync(2);
    }
  }
}

function killAll(path: string): void {
  for (const line of readFileSync(join(path, "cgroup.procs"), "latin1").split("\n")) {
    try {
      if (Number(line) > 0) process.kill(Number(line), "SIGKILL");
    } catch {
      // Ended by itself.
    }
  }
}
