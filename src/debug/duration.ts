/** Lengths of time on the command line. */

import { InvalidArgumentError } from "@commander-js/extra-typings";
import { parseDuration } from "../base/duration.ts";

/** "500ms", "10s", "2m", "1h"; a bare number is seconds. In milliseconds. */
export function requireDuration(text: string): number {
  const ms = parseDuration(/\d$/.test(text) ? `${text}s` : text);
  if (ms !== undefined && ms > 0) return ms;
  throw new InvalidArgumentError('Give a length of time as "500ms", "10s", "2m" or "1h".');
}
