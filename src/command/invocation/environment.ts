/**
 * The variables that mean something to a shim: what containerd and its administrator say to all shims,
 * and what `start` says to the daemon, of which the names and the form are defined only here.
 */

import type { Variables } from "../../base/variables.ts";
import type { Inheritance } from "../../linux/inheritance.ts";
import { DEADLINES_VARIABLE } from "../../runtime/deadlines.ts";

/** Chooses the protocol over which containerd calls the shim. */
export const PROTOCOL_VARIABLE = "WEDGE_PROTOCOL";
/** Tells a daemon-to-be who launched it: `FD:PID`, or `FD:PID:KIN`, see {@link Launcher}. */
export const LAUNCHER_VARIABLE = "WEDGE_LAUNCHER";
const OOM_SCORE_VARIABLE = "WEDGE_CHILD_OOM_SCORE";
const HUGE_PAGES_VARIABLE = "WEDGE_CHILD_HUGE_PAGES";
/** The entry that says that children are to have huge pages. */
export const HUGE_PAGES_ENTRY = `${HUGE_PAGES_VARIABLE}=true`;

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
  /** The protocol over which containerd is to call the shim; "" when unset. See `start/answer.ts`. */
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

/** A number or a launcher that cannot be read counts as unset. */
export function parseEnvironment(variables: Variables): Environment {
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

function parseLauncher(text = ""): Launcher | undefined {
  const [fd = "", pid = "", kin = ""] = text.split(":");
  if (!/^\d+$/.test(fd) || !/^\d+$/.test(pid)) return undefined;
  return { channel: Number(fd), managerPid: Number(pid), kin, isParent: true };
}

function parseInheritance(variables: Variables): Inheritance {
  const oomScore = Number.parseInt(variables[OOM_SCORE_VARIABLE] ?? "", 10);
  const pages = variables[HUGE_PAGES_VARIABLE];
  return {
    oomScore: Number.isNaN(oomScore) ? undefined : oomScore,
    hasHugePages: pages === undefined ? undefined : pages === "true",
  };
}

/** The variables by which `start` tells the daemon, see {@link Environment.inheritance}; removed for all others. */
export function inheritanceEntries({ oomScore, hasHugePages }: Inheritance): readonly string[] {
  const entries: string[] = [];
  if (oomScore !== undefined) entries.push(`${OOM_SCORE_VARIABLE}=${oomScore}`);
  if (hasHugePages !== undefined) entries.push(`${HUGE_PAGES_VARIABLE}=${hasHugePages}`);
  return entries;
}
