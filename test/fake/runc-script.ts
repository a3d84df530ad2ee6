/**
 * A shell script in place of runc, in a bundle of its own: for what a real runtime cannot be made
 * to do. Called as `runc --root R --log FILE --log-format json VERB ...`.
 */

import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Children } from "../../src/linux/children.ts";
import { Poller } from "../../src/linux/poller.ts";
import { CallHistory } from "../../src/runtime/call-history.ts";
import { RuntimeError } from "../../src/runtime/error.ts";
import { Runc } from "../../src/runtime/runc.ts";

export const NO_STDIO = [undefined, undefined, undefined] as const;

export interface RuncScriptOptions {
  /** Instead of the script's name, which is in PATH. */
  readonly command?: string;
  /** Added to PATH. */
  readonly environment?: readonly string[];
  /** Aborts when the process that calls the runtime is to end. */
  readonly ending?: AbortSignal;
}

/** A runtime that can be told to misbehave, and the directories it lives in. */
export interface RuncScript extends Disposable {
  readonly runtime: Runc;
  readonly history: CallHistory;
  /** Holds the executable `runc` and the directory `bundle`. */
  readonly directory: string;
  readonly executable: string;
  readonly bundle: string;
  readonly pidFile: string;
  /** What is in the bundle. */
  files(): readonly string[];
  /** The text of a file in `directory`. */
  read(name: string): string;
}

/** Writes `script` where the runtime is looked up. Its working directory is the bundle. */
export function openRuncScript(script: string, options: RuncScriptOptions = {}): RuncScript {
  const directory = mkdtempSync(join(tmpdir(), "runc-script-"));
  const bundle = join(directory, "bundle");
  mkdirSync(bundle);
  const executable = join(directory, "runc");
  writeFileSync(executable, `#!/bin/sh\n${script}\n`);
  chmodSync(executable, 0o755);
  const poller = new Poller();
  const children = new Children({ poller, reapStrays: false });
  const history = new CallHistory();
  const runtime = new Runc(
    {
      command: options.command ?? "runc",
      root: "/run/none/ns",
      systemdCgroup: false,
      bundle,
      environment: [`PATH=${directory}:/usr/bin:/bin`, ...(options.environment ?? [])],
    },
    { children, history, ...(options.ending && { ending: options.ending }) },
  );
  return {
    ...{ runtime, history, directory, executable, bundle, pidFile: join(bundle, "init.pid") },
    files: () => readdirSync(bundle).sort(),
    read: (name) => readFileSync(join(directory, name), "utf8"),
    [Symbol.dispose]: () => {
      children[Symbol.dispose]();
      poller[Symbol.dispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** The failure of `call`; throws when there is none, or it is none of the runtime's. */
export async function failureOf(call: Promise<unknown>): Promise<RuntimeError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof RuntimeError) return error;
    throw error;
  }
  throw new Error("The call succeeded");
}

/** Shell that logs `message` as an error, as runc does. */
export function logError(message: string): string {
  return `printf '{"level":"error","msg":"%s","time":"x"}\\n' '${message}' >> "$4"`;
}

/** Shell that writes `text` to the pid file that is asked for. Uses up the arguments. */
export function writePidFile(text: string): string {
  return `while [ "$1" != --pid-file ]; do shift; done; printf -- '${text}' > "$2"`;
}
