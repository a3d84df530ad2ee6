/**
 * The command line and the environment that containerd starts a shim with, as one typed value.
 *
 * The syntax is that of Go's `flag` package, which every containerd counts on: one dash or two,
 * `-name value` or `-name=value`, booleans alone or as `-name=true`; the first word that is not a flag
 * ends the flags and is the action. Pure: `main.ts` reads argv and the environment.
 */

import type { Variables } from "../../base/variables.ts";
import type { Inheritance } from "../../linux/inheritance.ts";
import { DEADLINES_VARIABLE } from "../../runtime/deadlines.ts";

const OOM_SCORE_VARIABLE = "WEDGE_CHILD_OOM_SCORE";
/** Chooses the protocol over which containerd calls the shim. */
export const PROTOCOL_VARIABLE = "WEDGE_PROTOCOL";
const HUGE_PAGES_VARIABLE = "WEDGE_CHILD_HUGE_PAGES";
/** Tells a daemon-to-be who launched it: `FD:PID`, or `FD:PID:KIN`, see {@link Launcher}. */
export const LAUNCHER_VARIABLE = "WEDGE_LAUNCHER";

/**
 * What the process is asked to do. `serve` is the daemon: no action word. `start` makes one that has its
 * launcher's channel (see {@link Launcher}) and claims its socket itself; one that is started by hand has
 * its socket where `-socket` says, or as descriptor 3.
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

/** The variables that mean something to a shim, and all variables, for what it starts. */
export interface Environment {
  /** Where containerd takes events; "" when unset. */
  readonly ttrpcAddress: string;
  readonly grpcAddress: string;
  /** Set by containerd 1.7 and later. */
  readonly namespace: string | undefined;
  /** The highest answer version that containerd takes: 2 since 1.7, not set before. */
  readonly maxShimVersion: number | undefined;
  readonly isCoreScheduled: boolean;
  /** Where this is the daemon-to-be of a `start`. */
  readonly launcher: Launcher | undefined;
  /** What a daemon's children are to have, as `start` was told. */
  readonly inheritance: Inheritance;
  /** Deadlines for the runtime that replace the usual ones; "" when unset. See `runtime/deadlines.ts`. */
  readonly deadlines: string;
  /** The protocol over which containerd is to call the shim; "" when unset. See `bootstrap.ts`. */
  readonly protocol: string;
  readonly variables: Variables;
}

/** How `start` was called, for the daemon that does its work. */
export interface Launcher {
  /** A byte written here lets the caller of `start` go on: its exit code. */
  readonly channel: number;
  /** The process that called `start`. */
  readonly managerPid: number;
  /** What this process has in common with its kin (src/native/kin.h); "" where that is not known. */
  readonly kin: string;
  /** Whether the launcher waits for this process to exit, if no byte is written. */
  readonly isParent: boolean;
}

/** An invocation, or what to print instead and the exit code. */
export type ParsedInvocation =
  | { readonly kind: "invocation"; readonly invocation: Invocation }
  | { readonly kind: "usage"; readonly text: string; readonly exitCode: number };

interface FlagDefinition {
  readonly isBoolean: boolean;
  readonly usage: string;
}

/** Flags as containerd gives them: each with its value as the next word. */
export const VALUE_FLAGS: readonly string[] = [
  "address",
  "bundle",
  "id",
  "namespace",
  "publish-binary",
];

const FLAGS: Readonly<Record<string, FlagDefinition>> = {
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

const TRUE_WORDS: readonly string[] = ["1", "t", "T", "TRUE", "true", "True"];
const FALSE_WORDS: readonly string[] = ["0", "f", "F", "FALSE", "false", "False"];
const EXIT_USAGE = 2;

/** `args` without the program itself; `program` is its name, for the usage text. */
export function parseInvocation(
  program: string,
  args: readonly string[],
  variables: Variables,
): ParsedInvocation {
  const texts = new Map<string, string>();
  const switches = new Map<string, boolean>();
  let index = 0;
  for (; index < args.length; index++) {
    const arg = args[index] ?? "";
    if (arg.length < 2 || !arg.startsWith("-")) break;
    if (arg === "--") {
      index++;
      break;
    }
    const name = arg.slice(arg.startsWith("--") ? 2 : 1);
    if (name === "" || name.startsWith("-") || name.startsWith("=")) {
      return refuse(program, `bad flag syntax: ${arg}`);
    }
    const equals = name.indexOf("=");
    const key = equals < 0 ? name : name.slice(0, equals);
    const given = equals < 0 ? undefined : name.slice(equals + 1);
    const definition = Object.hasOwn(FLAGS, key) ? FLAGS[key] : undefined;
    if (definition === undefined) {
      if (key === "h" || key === "help")
        return { kind: "usage", text: usage(program), exitCode: 0 };
      return refuse(program, `flag provided but not defined: -${key}`);
    }
    if (definition.isBoolean) {
      const isOn = parseBoolean(given ?? "true");
      if (isOn === undefined) {
        const value = JSON.stringify(given);
        return refuse(program, `invalid boolean value ${value} for -${key}: parse error`);
      }
      switches.set(key, isOn);
      continue;
    }
    const value = given ?? args[++index];
    if (value === undefined) return refuse(program, `flag needs an argument: -${key}`);
    texts.set(key, value);
  }
  const word = args[index];
  const action = chooseAction(switches, word);
  if (action === undefined) return refuse(program, `unknown action: ${word}`);
  return {
    kind: "invocation",
    invocation: {
      action,
      isDebug: switches.get("debug") ?? false,
      namespace: texts.get("namespace") ?? "",
      id: texts.get("id") ?? "",
      socket: texts.get("socket") ?? "",
      bundle: texts.get("bundle") ?? "",
      address: texts.get("address") ?? "",
      publishBinary: texts.get("publish-binary") ?? "",
      environment: toEnvironment(variables),
    },
  };
}

function parseBoolean(text: string): boolean | undefined {
  if (TRUE_WORDS.includes(text)) return true;
  return FALSE_WORDS.includes(text) ? false : undefined;
}

/** Flags that ask for information win over any action word. */
function chooseAction(
  switches: ReadonlyMap<string, boolean>,
  word: string | undefined,
): Action | undefined {
  if (switches.get("v") === true || switches.get("version") === true) return "version";
  if (switches.get("info") === true) return "info";
  if (word === undefined) return "serve";
  const actions = ["start", "delete", "deliver", "rehearse"] as const;
  return actions.find((action) => action === word);
}

function toEnvironment(variables: Variables): Environment {
  const maximum = Number.parseInt(variables["MAX_SHIM_VERSION"] ?? "", 10);
  return {
    ttrpcAddress: variables["TTRPC_ADDRESS"] ?? "",
    grpcAddress: variables["GRPC_ADDRESS"] ?? "",
    namespace: variables["NAMESPACE"],
    maxShimVersion: Number.isNaN(maximum) ? undefined : maximum,
    isCoreScheduled: (variables["SCHED_CORE"] ?? "") !== "",
    launcher: parseLauncher(variables[LAUNCHER_VARIABLE]),
    inheritance: parseInheritance(variables),
    deadlines: variables[DEADLINES_VARIABLE] ?? "",
    protocol: variables[PROTOCOL_VARIABLE] ?? "",
    variables,
  };
}

/** The entry that says that children are to have huge pages. */
export const HUGE_PAGES_ENTRY = `${HUGE_PAGES_VARIABLE}=true`;

/** The variables by which `start` tells the daemon, see {@link Environment.inheritance}; removed for all others. */
export function inheritanceEntries({ oomScore, hasHugePages }: Inheritance): readonly string[] {
  const entries: string[] = [];
  if (oomScore !== undefined) entries.push(`${OOM_SCORE_VARIABLE}=${oomScore}`);
  if (hasHugePages !== undefined) entries.push(`${HUGE_PAGES_VARIABLE}=${hasHugePages}`);
  return entries;
}

function parseInheritance(variables: Variables): Inheritance {
  const oomScore = Number.parseInt(variables[OOM_SCORE_VARIABLE] ?? "", 10);
  const pages = variables[HUGE_PAGES_VARIABLE];
  return {
    oomScore: Number.isNaN(oomScore) ? undefined : oomScore,
    hasHugePages: pages === undefined ? undefined : pages === "true",
  };
}

function parseLauncher(text = ""): Launcher | undefined {
  const [fd = "", pid = "", kin = ""] = text.split(":");
  if (!/^\d+$/.test(fd) || !/^\d+$/.test(pid)) return undefined;
  return { channel: Number(fd), managerPid: Number(pid), kin, isParent: true };
}

/** The flags of a daemon, in the order in which tools look for a container's shim in the process list. */
export function daemonWords(
  invocation: Pick<Invocation, "namespace" | "id" | "address" | "isDebug">,
): readonly string[] {
  const { namespace, id, address, isDebug } = invocation;
  const words = ["-namespace", namespace, "-id", id, "-address", address];
  return isDebug ? [...words, "-debug"] : words;
}

function refuse(program: string, reason: string): ParsedInvocation {
  return { kind: "usage", text: `${reason}\n${usage(program)}`, exitCode: EXIT_USAGE };
}

function usage(program: string): string {
  const lines = Object.entries(FLAGS).map(([name, { isBoolean, usage: text }]) => {
    const head = isBoolean ? `  -${name}` : `  -${name} string`;
    return text === "" ? head : `${head}\n    \t${text}`;
  });
  return `Usage of ${program}:\n${lines.join("\n")}\n`;
}
