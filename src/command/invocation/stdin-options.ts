/** Runtime options as containerd gives them to a short command: an `Any` on stdin, or nothing. */

import { messageOf, ShimError } from "../../base/error.ts";
import { Any } from "../../gen/google/protobuf/any.ts";

/** Undefined for empty input. Throws ShimError `invalidArgument` for what is no `Any` with a type. */
export function decodeStdinOptions(input: Uint8Array): Any | undefined {
  if (input.length === 0) return undefined;
  let any: Any;
  try {
    any = Any.decode(input);
  } catch (cause) {
    const message = `Cannot decode the runtime options on stdin: ${messageOf(cause)}`;
    throw new ShimError("invalidArgument", message, { cause });
  }
  if (any.typeUrl !== "") return any;
  const message = `Cannot decode the runtime options on stdin: ${input.length} bytes without a type`;
  throw new ShimError("invalidArgument", message);
}
