/** Text for libc: NUL-terminated, and kept alive by the caller for as long as the call runs. */

import { ptr } from "bun:ffi";

/** `text` as a C string. Throws TypeError for an embedded NUL, which would truncate a path. */
export function cString(text: string): Uint8Array {
  return Buffer.from(`${withoutNul(text)}\0`);
}

/** A NULL-terminated array of C strings, with the bytes that it points into. */
export interface CStringArray {
  readonly pointers: BigUint64Array;
  readonly bytes: Uint8Array;
}

/** `texts` as `char *const[]` (argv, envp). Hold the result until the call has returned. Throws as {@link cString}. */
export function cStringArray(texts: readonly string[]): CStringArray {
  // One byte more than there is: no array of bytes without any has an address.
  const bytes = Buffer.from(`${texts.map((text) => `${withoutNul(text)}\0`).join("")}\0`);
  const pointers = new BigUint64Array(texts.length + 1);
  const base = BigInt(ptr(bytes));
  let offset = 0;
  for (let index = 0; index < texts.length; index++) {
    pointers[index] = base + BigInt(offset);
    offset = bytes.indexOf(0, offset) + 1;
  }
  return { pointers, bytes };
}

function withoutNul(text: string): string {
  if (text.includes("\0")) throw new TypeError(`String with a NUL byte: ${JSON.stringify(text)}`);
  return text;
}
