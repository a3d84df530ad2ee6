/** One finding of `shim doctor`. */

/** "note": works, but worth knowing. "broken": something does not work, or a leftover is in the way. */
export type Level = "ok" | "note" | "broken";

export interface Finding {
  /** For programs: stays the same whatever the finding. */
  readonly check: string;
  readonly level: Level;
  /** What was found. */
  readonly message: string;
  /** What to do; undefined when nothing is to be done. */
  readonly advice?: string;
}

export function ok(check: string, message: string): Finding {
  return { check, level: "ok", message };
}

export function note(check: string, message: string, advice: string): Finding {
  return { check, level: "note", message, advice };
}

export function broken(check: string, message: string, advice: string): Finding {
  return { check, level: "broken", message, advice };
}
