/** The environment variables of a handoff; nobody else may have them. */

/** Tells the next program where the document is, and the program that wrote it: two descriptors. */
export const HANDOFF_VARIABLE = "WEDGE_HANDOFF";
/** Tells a program that got its own document back why. */
export const REFUSAL_VARIABLE = "WEDGE_HANDOFF_REFUSAL";
/** Tells the sleeper where its table is. */
export const SLEEP_VARIABLE = "WEDGE_SLEEP";

export const HANDOFF_VARIABLES: ReadonlySet<string> = new Set([
  HANDOFF_VARIABLE,
  REFUSAL_VARIABLE,
  SLEEP_VARIABLE,
]);
