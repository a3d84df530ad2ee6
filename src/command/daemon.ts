/** The serving self: the same executable without an action word, in a session of its own. */

import { lstatSync } from "node:fs";
import { join } from "node:path";
import { HANDOFF_VARIABLES } from "../handoff/variables.ts";
import { spawnProcess } from "../linux/children.ts";
import { hasCode } from "../linux/errno.ts";
import { O_NONBLOCK, O_RDWR, type OwnedFd, openFd } from "../linux/fd.ts";
import type { Inheritance } from "../linux/inheritance.ts";
import { selfCommand } from "../linux/self-command.ts";
import { SIGINT, SIGTERM, SIGUSR1 } from "../linux/signals.ts";
import { scrubEnvironment } from "../runtime/environment.ts";
import { inheritanceEntries, type Variables } from "./flags.ts";

/** The listening socket, as the daemon finds it. */
export const LISTENER_FD = 3;

/**
 * What the daemon heeds. Blocked from its beginning, in all of its threads, so that they wait until they
 * are read: one that came while it exchanges its program would be lost else.
 */
export const HEEDED_SIGNALS: readonly number[] = [SIGINT, SIGUSR1, SIGTERM];

const LOG_FIFO = "log";

/**
 * The engine as a process wants it that does little, and sleeps in between: no threads that compile or
 * collect beside the one that works, and freed pages given back at once, not by a thread that wakes up
 * for them. All of it is taken out of the environment again before a runtime gets to see that
 * (`runtime/environment.ts`).
 */
const ENGINE_SETTINGS = [
  "BUN_JSC_useConcurrentJIT=0",
  "BUN_JSC_useConcurrentGC=0",
  "BUN_JSC_numberOfGCMarkers=1",
  "MIMALLOC_PURGE_DELAY=0",
] as const;

/** What the daemon is told, all of it on its command line and in its environment. */
export interface DaemonOptions {
  readonly namespace: string;
  readonly id: string;
  readonly grpcAddress: string;
  readonly ttrpcAddress: string;
  readonly isDebug: boolean;
  /** Its working directory, and where its log goes. */
  readonly bundle: string;
  readonly variables: Variables;
  /** The listening socket; lent. */
  readonly listener: number;
  /** What it must not hand down of what it is given here. */
  readonly inheritance: Inheritance;
}

/**
 * Starts the daemon and returns its pid. It inherits the socket and, as stderr, the bundle's `log`
 * FIFO, so that even a crash of the engine is logged; nothing of this process's own streams, whose
 * end containerd waits for. Throws SystemError.
 */
export function spawnDaemon(options: DaemonOptions): number {
  using log = openLogFifo(options.bundle);
  const variables = { ...options.variables, TTRPC_ADDRESS: options.ttrpcAddress || undefined };
  const self = selfCommand();
  return spawnProcess({
    path: self.path,
    argv: [
      ...self.argv,
      "-namespace",
      options.namespace,
      // Tools find the shim of a container by its id in the process list.
      "-id",
      options.id,
      "-address",
      options.grpcAddress,
      ...(options.isDebug ? ["-debug"] : []),
    ],
    env: [
      ...daemonEnvironment(variables),
      ...inheritanceEntries(options.inheritance),
      ...ENGINE_SETTINGS,
    ],
    cwd: options.bundle,
    stdio: [undefined, undefined, log?.fd, options.listener],
    leads: "session",
    blocked: HEEDED_SIGNALS,
  });
}

/**
 * The FIFO that containerd reads a shim's log from; undefined where there is none, as a log is optional.
 * Open for both, it can neither hang, nor break when containerd restarts, nor block when full.
 */
function openLogFifo(bundle: string): OwnedFd | undefined {
  const path = join(bundle, LOG_FIFO);
  try {
    if (!lstatSync(path).isFIFO()) return undefined;
    return openFd(path, O_RDWR | O_NONBLOCK);
  } catch (error) {
    if (hasCode(error, "ENOENT", "EACCES", "EPERM")) return undefined;
    throw error;
  }
}

/** What only this process, or whoever started containerd, was meant to have; see also below. */
const DROPPED: ReadonlySet<string> = new Set([
  "NODE_OPTIONS",
  "WATCHDOG_PID",
  "WATCHDOG_USEC",
  ...HANDOFF_VARIABLES,
]);

/**
 * The environment for the daemon, `NAME=value` each: without what changes the engine, and without what
 * the runtime must not have, so that nothing the daemon starts can have it either.
 */
export function daemonEnvironment(variables: Variables): readonly string[] {
  const entries = Object.entries(variables).flatMap(([name, value]) =>
    value === undefined || DROPPED.has(name) ? [] : [`${name}=${value}`],
  );
  return scrubEnvironment(entries);
}
