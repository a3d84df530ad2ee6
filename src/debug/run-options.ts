/** The words of `shim run`: long flags, or the id, the bundle and the runtime in a row. Pure. */

import { parseArgs } from "node:util";
import { messageOf } from "../base/error.ts";
import { usageError } from "./refusal.ts";

/** What was asked for, defaults filled in. Nothing is looked up yet. */
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
}

export const RUN_HELP = `Usage: shim [run] --id ID --bundle DIR [--runtime NAME] [--root DIR] [--detach]
       shim [run] ID DIR [NAME]

Runs an OCI bundle under a shim of its own, with no manager.

  --id ID            name of the container
  --bundle DIR       directory with config.json and the root filesystem
  --runtime NAME     OCI runtime, by name or path (runc)
  --root DIR         where the runtime keeps its state: DIR/NAMESPACE/ID (/run/containerd/runc)
  --namespace NAME   namespace of the container (default)
  --detach           leave the container to its shim, print its id and pid; its output is discarded
  --debug            show the log of the shim
  --help             show this
  --version          show the version

In the foreground the container has this terminal if its config.json asks for one, else stdin, stdout
and stderr; signals are passed on to it.

Exit codes: that of the container, 128 + N when signal N ended it; 2 when something given is wrong and
nothing was begun; 1 when the runtime or the shim fails.

Examples:
  shim --id web --bundle /srv/bundles/web
  shim --id web --bundle . --runtime crun --detach
  echo hello | shim web /srv/bundles/web runc
`;

const FLAGS = {
  id: { type: "string" },
  bundle: { type: "string", short: "b" },
  runtime: { type: "string" },
  root: { type: "string" },
  namespace: { type: "string", short: "n" },
  detach: { type: "boolean", short: "d" },
  debug: { type: "boolean" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean" },
} as const;

const POSITIONALS_MAX = 3;

/** The options, or what to show instead. */
export type ParsedRun =
  | { readonly kind: "run"; readonly options: RunOptions }
  | { readonly kind: "help" }
  | { readonly kind: "version" };

/** Throws a Refusal that names the flag or the word that cannot be used. */
export function parseRun(args: readonly string[]): ParsedRun {
  const { values, positionals } = parseWords(args.map(withTwoDashes));
  if (values.help) return { kind: "help" };
  if (values.version) return { kind: "version" };
  const [id, bundle, runtime] = positionals;
  if (positionals.length > POSITIONALS_MAX) {
    throw usageError(
      `Too many arguments: ${positionals.slice(POSITIONALS_MAX).join(" ")}; a command is given by config.json`,
    );
  }
  return {
    kind: "run",
    options: {
      id: choose("id", "the id", values.id, id),
      bundle: choose("bundle", "the bundle", values.bundle, bundle),
      runtime: choose("runtime", "the runtime", values.runtime, runtime, "runc"),
      root: values.root,
      namespace: values.namespace ?? "default",
      isDetached: values.detach ?? false,
      isDebug: values.debug ?? false,
    },
  };
}

function parseWords(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: FLAGS, allowPositionals: true });
  } catch (cause) {
    // The parser's message goes on with advice about its own syntax.
    const [sentence] = messageOf(cause).split(/\. |\n/);
    throw usageError(`${sentence}; see shim --help`, { cause });
  }
}

/** `-id x` and `-id=x` as Go programs take them. */
function withTwoDashes(word: string): string {
  const name = /^-([a-z]{2,})(?:=|$)/.exec(word)?.[1];
  return name !== undefined && Object.hasOwn(FLAGS, name) ? `-${word}` : word;
}

/** The value of a flag or of its place in the row; not of both. */
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
    throw usageError(`No value for ${what}; give it with --${flag}, see shim --help`);
  }
  return value;
}
