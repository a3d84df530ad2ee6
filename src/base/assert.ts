/** Assertions for programmer errors. External faults are `ShimError`s instead. */

/** Throws when `condition` does not hold: a bug in wedge, never bad input. */
export function assert(condition: unknown, fact: string): asserts condition {
  if (!condition) throw new Error(`Assertion failed: ${fact}`);
}
