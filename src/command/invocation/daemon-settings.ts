/**
 * The daemon: the same executable without an action word, in a process group of its own.
 *
 * What it is started with is defined only here; the build passes it to `src/native/launcher.c`.
 */

import { toEntries, type Variables } from "../../base/variables.ts";
import { HANDOFF_VARIABLES } from "../../handoff/variables.ts";
import { SIGINT, SIGTERM, SIGUSR1 } from "../../linux/signals.ts";
import {
  REMOVED_PREFIXES,
  REMOVED_VARIABLES,
  scrubEnvironment,
} from "../../runtime/environment.ts";

/**
 * The signals that the daemon heeds. Blocked from the beginning, in all threads, so that they wait until
 * they are read: otherwise one that came while it exchanges its program would be lost.
 */
export const HEEDED_SIGNALS: readonly number[] = [SIGINT, SIGUSR1, SIGTERM];

/**
 * The engine tuned for a process that does little and sleeps in between: no compiler or collector threads
 * beside the one that works, freed pages given back at once and not by a thread that wakes up for them,
 * and no look for garbage each second (`handoff/mover.ts` looks when there is some). No thread that
 * touches half a megabyte ahead of need: it costs 4 % of the CPU time of a life. Garbage is collected
 * once there are 4 MB of it, not 32: one life does not come to that. What runs only as often as in the
 * life of one container is not compiled; what that saves is within the noise. The engine's last compiler
 * tier is off: while it works the heap grows by 5 MB, of which 2 MB stay for good, and it gains some 8 %,
 * in floods of 100,000 calls. All of it is removed from the environment again before a runtime gets to
 * see it (`runtime/environment.ts`).
 */
export const ENGINE_SETTINGS = [
  "BUN_JSC_useConcurrentJIT=0",
  "BUN_JSC_useConcurrentGC=0",
  "BUN_JSC_numberOfGCMarkers=1",
  "BUN_JSC_useWarmUpMarkedBlocks=0",
  "BUN_JSC_largeHeapSize=4194304",
  "BUN_JSC_thresholdForJITAfterWarmUp=1000",
  "BUN_JSC_thresholdForOptimizeAfterWarmUp=5000",
  "BUN_JSC_useFTLJIT=0",
  "BUN_GC_TIMER_DISABLE=1",
  "MIMALLOC_PURGE_DELAY=0",
] as const;

/** Meant only for `start`, or for whoever started containerd. */
const OWN_VARIABLES: readonly string[] = [
  "NODE_OPTIONS",
  "WATCHDOG_PID",
  "WATCHDOG_USEC",
  ...HANDOFF_VARIABLES,
];

/** The names of variables that a daemon does not get. */
export const DROPPED_VARIABLES: readonly string[] = [...OWN_VARIABLES, ...REMOVED_VARIABLES];
/** Prefixes of the names of further ones. */
export const DROPPED_PREFIXES: readonly string[] = REMOVED_PREFIXES;

const OWN: ReadonlySet<string> = new Set(OWN_VARIABLES);

/**
 * The environment for the daemon, as `NAME=value` entries: without what changes the engine, and without
 * what the runtime must not have, so that nothing that the daemon starts can inherit it.
 */
export function daemonEnvironment(variables: Variables): readonly string[] {
  return scrubEnvironment(toEntries(variables, OWN));
}
