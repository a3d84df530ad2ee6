/** Text for libc: NUL-terminated, and kept alive by the caller for as long as the call runs. */

import { ptr } from "bun:ffi";

/** `text` as a C string. Throws TypeError for an embedded NUL, which would truncate a path. */
export function cString(text: string): Uint8Array {
  if (text.includes("\0")) throw new TypeError(`String with a NUL byte: ${JSON.stringify(text)}`);
  return Buffer.from(`${text}\0`);
}

/** A NULL-terminated array of C strings, with the buffers it points into. */
export interface CStringArray {
  readonly pointers: BigUint64Array;
  readonly buffers: readonly Uint8Array[];
}

/** `texts` as `char *const[]` (argv, envp). Hold the result until the call has returned. */
export function cStringArray(texts: readonly string[]): CStringArray {
  const buffers = texts.map(cString);
  const pointers = new BigUint64Array(texts.length + 1);
  buffers.forEach((buffer, index) => {
    pointers[index] = BigInt(ptr(buffer));
  });
  return { pointers, buffers };
}
