/**
 * What containerd starts a shim with, as one typed value: the flags that a shim takes, the action after
 * them, and the environment. Pure: `main.ts` reads argv and the environment.
 */

import type { Variables } from "../../base/variables.ts";
import { type Environment, parseEnvironment } from "./environment.ts";
import { type FlagSet, parseFlags, refuse, type Usage } from "./flags.ts";

/**
 * What the process is asked to do. `serve` is the daemon: no action word. `start` makes one that has its
 * launcher's channel (see {@link Environment.launcher}) and claims its socket itself; one that is started
 * by hand has its socket where `-socket` says, or as descriptor 3.
 * `deliver` is what `delete` leaves running while containerd does not serve yet: see `deliver.ts`.
 * `rehearse` is run from the program that a running shim is to be upgraded to: see `handoff/rehearsal.ts`.
 */
export type Action = "start" | "delete" | "deliver" | "rehearse" | "serve" | "info" | "version";

/** Everything that the caller said, with defaults filled in. Text that was not given is "". */
export interface Invocation {
  readonly action: Action;
  readonly isDebug: boolean;
  readonly namespace: string;
  /** Id of the task that the shim is started for. */
  readonly id: string;
  /** Where a daemon that is started by hand is to listen; "" for descriptor 3. */
  readonly socket: string;
  /** Given only with `delete`; otherwise the working directory is the bundle. */
  readonly bundle: string;
  /** containerd's gRPC socket. */
  readonly address: string;
  /** containerd's own executable. */
  readonly publishBinary: string;
  readonly environment: Environment;
}

export type ParsedInvocation =
  | { readonly kind: "invocation"; readonly invocation: Invocation }
  | Usage;

/** Flags as containerd gives them: each with its value as the next word. */
export const VALUE_FLAGS: readonly string[] = [
  "address",
  "bundle",
  "id",
  "namespace",
  "publish-binary",
];

const FLAGS: FlagSet["definitions"] = {
  address: { isBoolean: false, usage: "socket of containerd's gRPC service" },
  bundle: { isBoolean: false, usage: "path of the bundle, where it is not the working directory" },
  debug: { isBoolean: true, usage: "log every step" },
  "debug-socket": { isBoolean: false, usage: "has no effect: no debugging socket is served" },
  id: { isBoolean: false, usage: "id of the task" },
  info: {
    isBoolean: true,
    usage: "read runtime options on stdin, print what the runtime offers, and exit",
  },
  namespace: { isBoolean: false, usage: "containerd namespace that owns the task" },
  "publish-binary": { isBoolean: false, usage: "path of containerd's executable" },
  socket: { isBoolean: false, usage: "path of the socket to serve" },
  v: { isBoolean: true, usage: "" },
  version: { isBoolean: true, usage: "print the version and exit" },
};

/** `args` without the program itself; `program` is its name, for the usage text. */
export function parseInvocation(
  program: string,
  args: readonly string[],
  variables: Variables,
): ParsedInvocation {
  const set = { program, definitions: FLAGS };
  const flags = parseFlags(set, args);
  if (flags.kind === "usage") return flags;
  const { texts, switches } = flags;
  const [word] = flags.rest;
  const action = chooseAction(switches, word);
  if (action === undefined) return refuse(set, `unknown action: ${word}`);
  return {
    kind: "invocation",
    invocation: {
      action,
      isDebug: switches.has("debug"),
      namespace: texts.get("namespace") ?? "",
      id: texts.get("id") ?? "",
      socket: texts.get("socket") ?? "",
      bundle: texts.get("bundle") ?? "",
      address: texts.get("address") ?? "",
      publishBinary: texts.get("publish-binary") ?? "",
      environment: parseEnvironment(variables),
    },
  };
}

/** Flags that ask for information win over any action word. */
function chooseAction(switches: ReadonlySet<string>, word: string | undefined): Action | undefined {
  if (switches.has("v") || switches.has("version")) return "version";
  if (switches.has("info")) return "info";
  if (word === undefined) return "serve";
  const actions = ["start", "delete", "deliver", "rehearse"] as const;
  return actions.find((action) => action === word);
}

/** The flags of a daemon, in the order in which tools look for a container's shim in the process list. */
export function daemonWords(
  invocation: Pick<Invocation, "namespace" | "id" | "address" | "isDebug">,
): readonly string[] {
  const { namespace, id, address, isDebug } = invocation;
  const words = ["-namespace", namespace, "-id", id, "-address", address];
  return isDebug ? [...words, "-debug"] : words;
}
