/** Changes valid inputs into hostile ones. The same seed gives the same changes. */

import { seededRandom } from "../fake/runtime.ts";
import type { FuzzTarget } from "./target.ts";

/** Longest input that changes may grow to, in bytes. */
const LENGTH_MAX = 64 * 1024;
const CHANGES_MAX = 6;
/** Numbers at which code tends to be wrong, as bytes, varints among them. */
const NUMBERS: readonly (readonly number[])[] = [
  [0],
  [0x7f],
  [0x80],
  [0xff],
  [0xff, 0xff, 0xff, 0xff],
  [0x7f, 0xff, 0xff, 0xff],
  [0, 0x40, 0, 1],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
];

/** An endless supply of inputs for one target. */
export class Mutator {
  readonly #target: FuzzTarget;
  readonly #random: () => number;

  constructor(target: FuzzTarget, seed: number) {
    this.#target = target;
    this.#random = seededRandom(seed);
  }

  next(): Uint8Array {
    let input = this.#pick(this.#target.seeds) ?? new Uint8Array(0);
    for (let left = 1 + this.#below(CHANGES_MAX); left > 0; left--) input = this.#change(input);
    return input.length > LENGTH_MAX ? input.subarray(0, LENGTH_MAX) : input;
  }

  #change(input: Uint8Array): Uint8Array {
    const at = this.#below(input.length + 1);
    const end = Math.min(input.length, at + 1 + this.#below(16));
    switch (this.#below(9)) {
      case 0:
        return this.#flipped(input);
      case 1:
        return splice(input, at, at, Uint8Array.from(this.#pick(NUMBERS) ?? []));
      case 2:
        return splice(input, at, end, Uint8Array.from(this.#pick(NUMBERS) ?? []));
      case 3:
        return splice(input, at, end, new Uint8Array(0));
      case 4:
        return splice(input, at, at, this.#word());
      case 5:
        return splice(input, at, end, this.#word());
      case 6:
        return splice(input, at, at, input.subarray(at, end));
      case 7:
        return input.subarray(0, at);
      default:
        return splice(input, at, input.length, this.#pick(this.#target.seeds) ?? input);
    }
  }

  #flipped(input: Uint8Array): Uint8Array {
    const copy = input.slice();
    const at = this.#below(copy.length);
    copy[at] = (copy[at] ?? 0) ^ (1 << this.#below(8));
    return copy;
  }

  /** A word, now and then a great many times over. */
  #word(): Uint8Array {
    const word = this.#pick(this.#target.words) ?? "A";
    const times = this.#below(200) === 0 ? 1 + this.#below(5000) : 1;
    return Buffer.from(word.repeat(Math.min(times, Math.ceil(LENGTH_MAX / word.length))));
  }

  #pick<T>(list: readonly T[]): T | undefined {
    return list[this.#below(list.length)];
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }
}

function splice(input: Uint8Array, start: number, end: number, middle: Uint8Array): Uint8Array {
  return Buffer.concat([input.subarray(0, start), middle, input.subarray(end)]);
}
