/** What `shim doctor` has to say about one thing. */

/** "note": works, and somebody should know. "broken": something does not work, or is left over and in the way. */
export type Level = "ok" | "note" | "broken";

export interface Finding {
  /** For programs: stays the same whatever is found. */
  readonly check: string;
  readonly level: Level;
  /** What is so. */
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
