/** How a shim sleeps, renews itself and becomes a spare, as containerd's environment says. */

import type { Variables } from "../base/variables.ts";

/** Seconds of quiet before a shim sleeps; 0 disables sleep. */
export const SLEEP_AFTER_VARIABLE = "WEDGE_SLEEP_AFTER_SECONDS";
/** Private memory, in megabytes, before which a shim renews itself; 0 disables that. */
export const CEILING_VARIABLE = "WEDGE_MEMORY_CEILING_MB";
/** Seconds for which a process whose shim has ended waits to become another; 0 disables that. */
export const SPARE_VARIABLE = "WEDGE_SPARE_SECONDS";

const SLEEP_AFTER_SECONDS = 5;
const CEILING_MEGABYTES = 24;
const SPARE_SECONDS = 10;
/** poll(2) counts milliseconds in an int. */
const SPARE_SECONDS_MAX = 86_400;
const MILLISECONDS = 1000;
const KILOBYTES = 1024;

export interface HandoffSettings {
  /** 0: never. */
  readonly sleepAfterMs: number;
  /** 0: never. */
  readonly ceilingKilobytes: number;
  /** 0: not at all. */
  readonly spareMs: number;
}

/** What is set, or the defaults; anything but a non-negative number counts as not set. */
export function readSettings(variables: Variables): HandoffSettings {
  const numberOf = (name: string, otherwise: number) => {
    const value = variables[name];
    const given = value === undefined || value.trim() === "" ? Number.NaN : Number(value);
    return Number.isFinite(given) && given >= 0 ? given : otherwise;
  };
  return {
    sleepAfterMs: numberOf(SLEEP_AFTER_VARIABLE, SLEEP_AFTER_SECONDS) * MILLISECONDS,
    ceilingKilobytes: numberOf(CEILING_VARIABLE, CEILING_MEGABYTES) * KILOBYTES,
    spareMs: Math.min(numberOf(SPARE_VARIABLE, SPARE_SECONDS), SPARE_SECONDS_MAX) * MILLISECONDS,
  };
}
