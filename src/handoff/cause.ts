/** Why a program was left. Times are by the clock of `linux/clock.ts`, which the next program has too. */

import { real, type Shaped, tagged, whole } from "../base/shape.ts";

export const causeState = tagged({
  /** Somebody asked for another program. `pausedAtMs` is when calls were no longer taken. */
  upgrade: { pausedAtMs: real },
  /** Its memory had grown too much. */
  renewal: { pausedAtMs: real, privateKilobytes: whole },
  /** There was nothing to do. */
  sleep: { sinceMs: real },
});
export type Cause = Shaped<typeof causeState>;
