/** The environment variables of a handoff; removed for everybody else. */

/** Tells the next program where the document is, and the program that wrote it: two descriptors. */
export const HANDOFF_VARIABLE = "WEDGE_HANDOFF";
/** Tells a program that got its own document back why that is. */
export const REFUSAL_VARIABLE = "WEDGE_HANDOFF_REFUSAL";
/**
 * Tells a program that a guardian looks after it: the descriptors of the guardian's table, and of the pipe
 * to write to when the shim is restored.
 */
export const GUARD_VARIABLE = "WEDGE_HANDOFF_GUARD";
/** Tells the sleeper where its table is. */
export const SLEEP_VARIABLE = "WEDGE_SLEEP";

export const HANDOFF_VARIABLES: ReadonlySet<string> = new Set([
  HANDOFF_VARIABLE,
  REFUSAL_VARIABLE,
  GUARD_VARIABLE,
  SLEEP_VARIABLE,
]);
