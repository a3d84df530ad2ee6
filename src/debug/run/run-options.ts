/** What `shim run` is asked for: flags, or the id, the bundle and the runtime as arguments. Pure. */

import { usageError } from "../refusal.ts";

/** Defaults filled in. Nothing is looked up yet. */
export interface RunOptions {
  readonly id: string;
  readonly bundle: string;
  /** A name for PATH, or a path. */
  readonly runtime: string;
  /** Where the runtime keeps its state, by namespace; undefined for where containerd has it. */
  readonly root: string | undefined;
  readonly namespace: string;
  readonly isDetached: boolean;
  readonly isDebug: boolean;
  /** How long the container may run; undefined for as long as it likes. */
  readonly timeoutMs: number | undefined;
  /** Whether it gets a terminal; undefined for what its config.json says. */
  readonly isTerminal: boolean | undefined;
  /** Where the pid of its init is written; undefined for nowhere. */
  readonly pidFile: string | undefined;
  /** A file that its output is appended to; undefined for our own streams. */
  readonly logFile: string | undefined;
}

/** The flags as the parser gives them. */
export interface RunFlags {
  readonly id?: string | undefined;
  readonly bundle?: string | undefined;
  readonly runtime?: string | undefined;
  readonly root?: string | undefined;
  readonly namespace: string;
  readonly detach?: true | undefined;
  readonly debug?: true | undefined;
  readonly timeout?: number | undefined;
  readonly tty?: boolean | undefined;
  readonly pidFile?: string | undefined;
  readonly log?: string | undefined;
}

const POSITIONALS_MAX = 3;
const FLAG_NAMES: ReadonlySet<string> = new Set([
  ...["id", "bundle", "runtime", "root", "namespace", "detach", "debug", "help", "version"],
  ...["tty", "no-tty", "log", "pid-file", "timeout"],
]);

/** Throws a Refusal that names the flag or the word that cannot be used. */
export function toRunOptions(flags: RunFlags, positionals: readonly string[]): RunOptions {
  const [id, bundle, runtime] = positionals;
  if (positionals.length > POSITIONALS_MAX) {
    throw usageError(
      `Too many arguments: ${positionals.slice(POSITIONALS_MAX).join(" ")}; a command is given by config.json`,
    );
  }
  if (flags.detach && flags.timeout !== undefined) {
    throw usageError(
      "No limit can be enforced on a container that is left to its shim; give --timeout or --detach, or use timeout(1) with shim wait",
    );
  }
  return {
    id: choose("id", "the id", flags.id, id),
    bundle: choose("bundle", "the bundle", flags.bundle, bundle),
    runtime: choose("runtime", "the runtime", flags.runtime, runtime, "runc"),
    root: flags.root,
    namespace: flags.namespace,
    isDetached: flags.detach ?? false,
    isDebug: flags.debug ?? false,
    timeoutMs: flags.timeout,
    isTerminal: flags.tty,
    pidFile: flags.pidFile,
    logFile: flags.log,
  };
}

/** `-id x` and `-id=x` as Go programs take them. */
export function withTwoDashes(word: string): string {
  const name = /^-([a-z][a-z-]+)(?:=|$)/.exec(word)?.[1];
  return name !== undefined && FLAG_NAMES.has(name) ? `-${word}` : word;
}

/** The value of a flag or of its argument; not of both. */
function choose(
  flag: string,
  what: string,
  named: string | undefined,
  placed: string | undefined,
  preset?: string,
): string {
  if (named !== undefined && placed !== undefined) {
    throw usageError(`Two values for ${what}: ${named} and ${placed}; give one of them`);
  }
  const value = named ?? placed ?? preset;
  if (value === undefined || value === "") {
    throw usageError(`No value for ${what}; give it with --${flag}, see shim run --help`);
  }
  return value;
}
