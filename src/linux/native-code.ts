/** Native code of wedge's own in this process: functions of `src/native` that may be loaded anywhere. */

import { type Pointer, toArrayBuffer } from "bun:ffi";
import { check } from "./errno.ts";
import { selfTable } from "./libc.ts";
import { mapMemory, PROT_EXEC, PROT_READ } from "./mapping.ts";

/**
 * Puts a function, in base64, into memory of its own, for as long as this process lives. Returns its
 * address. Throws SystemError: ENOMEM, or EACCES where the kernel allows no new code.
 */
export function loadNativeCode(image: string): Pointer {
  const code = Buffer.from(image, "base64");
  using undo = new DisposableStack();
  const { address } = undo.use(mapMemory(code.length));
  new Uint8Array(toArrayBuffer(address, 0, code.length)).set(code);
  check("mprotect", selfTable().mprotect(address, code.length, PROT_READ | PROT_EXEC));
  undo.move();
  return address;
}
