/**
 * The daemon: the same executable without an action word, in a process group of its own.
 *
 * What it is started with stands here alone; `src/native/launcher.c` has it from the build.
 */

import { HANDOFF_VARIABLES } from "../handoff/variables.ts";
import { SIGINT, SIGTERM, SIGUSR1 } from "../linux/signals.ts";
import { REMOVED_PREFIXES, REMOVED_VARIABLES, scrubEnvironment } from "../runtime/environment.ts";
import type { Variables } from "./flags.ts";

/** The listening socket of a shim that is started without `start`. */
export const LISTENER_FD = 3;

/**
 * What the daemon heeds. Blocked from its beginning, in all of its threads, so that they wait until they
 * are read: one that came while it exchanges its program would be lost else.
 */
export const HEEDED_SIGNALS: readonly number[] = [SIGINT, SIGUSR1, SIGTERM];

/**
 * The engine as a process wants it that does little, and sleeps in between: no threads that compile or
 * collect beside the one that works, freed pages given back at once, not by a thread that wakes up for
 * them, and no look for garbage each second (`handoff/mover.ts` looks when there is some). No thread that
 * touches half a megabyte ahead of need: it costs 4 % of the processor time of a life. Garbage is
 * collected when there are 4 MB of it, not 32: one life does not come to that. What runs only
 * as often as in the life of one container is not compiled; what that saves is within the noise. The
 * last of the engine's compilers is left out: while it works the heap grows by 5 MB, 2 MB stay for good,
 * and it is some 8 % that it gains, in floods of 100,000 calls. All of it is taken out of the environment
 * again before a runtime gets to see that (`runtime/environment.ts`).
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

/** What only `start`, or whoever started containerd, was meant to have. */
const OWN_VARIABLES: readonly string[] = [
  "NODE_OPTIONS",
  "WATCHDOG_PID",
  "WATCHDOG_USEC",
  ...HANDOFF_VARIABLES,
];

/** The names of variables that a daemon does not get. */
export const DROPPED_VARIABLES: readonly string[] = [...OWN_VARIABLES, ...REMOVED_VARIABLES];
/** What the names of further ones begin with. */
export const DROPPED_PREFIXES: readonly string[] = REMOVED_PREFIXES;

const OWN: ReadonlySet<string> = new Set(OWN_VARIABLES);

/**
 * The environment for the daemon, `NAME=value` each: without what changes the engine, and without what
 * the runtime must not have, so that nothing the daemon starts can have it either.
 */
export function daemonEnvironment(variables: Variables): readonly string[] {
  const entries = Object.entries(variables).flatMap(([name, value]) =>
    value === undefined || OWN.has(name) ? [] : [`${name}=${value}`],
  );
  return scrubEnvironment(entries);
}
