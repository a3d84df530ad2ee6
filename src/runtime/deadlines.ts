/** How long the runtime may take for each verb, and how a user changes that. */

import { parseDuration } from "../base/duration.ts";
import { ShimError } from "../base/error.ts";
import type { Verb } from "./runtime.ts";

/** Milliseconds by verb. */
export type Deadlines = Readonly<Record<Verb, number>>;

/** Set for containerd, whose environment every shim inherits. */
export const DEADLINES_VARIABLE = "WEDGE_DEADLINES";

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;

/**
 * Managers set no limit, or minutes, for verbs that run hooks or wait for a disk; so these deadlines end
 * what hangs, and nothing that is merely slow. The other verbs wait only for the kernel.
 */
export const defaultDeadlines: Deadlines = {
  create: 10 * MINUTE_MS,
  restore: 30 * MINUTE_MS,
  start: 10 * MINUTE_MS,
  exec: 5 * MINUTE_MS,
  delete: 5 * MINUTE_MS,
  checkpoint: 30 * MINUTE_MS,
  kill: 30 * SECOND_MS,
  pause: MINUTE_MS,
  resume: MINUTE_MS,
  update: MINUTE_MS,
  features: 10 * SECOND_MS,
};

/** The longest delay of an engine timer. */
const DEADLINE_MS_MAX = 2 ** 31 - 1;

/**
 * Reads `create=2m,kill=500ms`; verbs that are not named keep their default. Throws ShimError
 * `invalidArgument` that names what cannot be read.
 */
export function parseDeadlines(text: string): Deadlines {
  const deadlines: Record<Verb, number> = { ...defaultDeadlines };
  for (const part of text.split(",")) {
    if (part.trim() === "") continue;
    const [, verb = "", time = ""] = /^\s*(\w+)=(\d+[a-z]+)\s*$/.exec(part) ?? [];
    const durationMs = parseDuration(time) ?? 0;
    if (!isVerb(verb) || durationMs <= 0 || durationMs > DEADLINE_MS_MAX) {
      const verbs = Object.keys(defaultDeadlines).join(", ");
      throw new ShimError(
        "invalidArgument",
        `Cannot use ${JSON.stringify(part)} of ${DEADLINES_VARIABLE}: it takes VERB=TIME with a time such as 500ms, 30s or 5m, and one of ${verbs}`,
      );
    }
    deadlines[verb] = durationMs;
  }
  return deadlines;
}

function isVerb(name: string): name is Verb {
  return Object.hasOwn(defaultDeadlines, name);
}
