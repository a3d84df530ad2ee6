/** Assertions for programmer errors. What the world does wrong is a `ShimError` instead. */

/** Throws when `condition` does not hold: a bug in wedge, never bad input. */
export function assert(condition: unknown, fact: string): asserts condition {
  if (!condition) throw new Error(`Assertion failed: ${fact}`);
}
