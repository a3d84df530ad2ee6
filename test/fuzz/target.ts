/** What can be fuzzed: valid inputs to begin with, and what must hold for any input whatever. */

import { ShimError } from "../../src/base/error.ts";

export interface FuzzTarget {
  readonly name: string;
  /** Valid inputs; the fuzzer changes them. */
  readonly seeds: readonly Uint8Array[];
  /** Pieces that mean something to what is fuzzed, to be put anywhere. */
  readonly words: readonly string[];
  /** Throws, or rejects, when something does not hold. */
  run(input: Uint8Array): void | Promise<void>;
  /** Ends what the target has started. */
  close?(): Promise<void>;
}

/** The value of `action`, or undefined when it refuses its input in words. Anything else it throws is a finding. */
export function unlessRefused<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (error instanceof ShimError && error.message !== "") return undefined;
    throw error;
  }
}

export function text(input: Uint8Array): string {
  return Buffer.from(input).toString();
}

export function bytes(value: string): Uint8Array {
  return Buffer.from(value);
}
