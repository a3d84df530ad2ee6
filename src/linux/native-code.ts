/** Native code of wedge's own in this process: functions of `src/native` that may be loaded anywhere. */

import { type Pointer, toArrayBuffer } from "bun:ffi";
import { check } from "./errno.ts";
import { selfTable } from "./libc.ts";
import { mapMemory, PROT_EXEC, PROT_READ } from "./mapping.ts";

const loaded = new Map<string, Pointer>();

/**
 * The address of a function, given in base64: it is put into memory of its own once, for as long as this process
 * lives. Throws SystemError: ENOMEM, or EACCES where the kernel allows no new code.
 */
export function nativeCode(image: string): Pointer {
  const known = loaded.get(image);
  if (known !== undefined) return known;
  const code = Buffer.from(image, "base64");
  using undo = new DisposableStack();
  const { address } = undo.use(mapMemory(code.length));
  new Uint8Array(toArrayBuffer(address, 0, code.length)).set(code);
  check("mprotect", selfTable().mprotect(address, code.length, PROT_READ | PROT_EXEC));
  undo.move();
  loaded.set(image, address);
  return address;
}
