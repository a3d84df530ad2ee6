/** Letting go on what was frozen and has no use for it any more. */

import { messageOf } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import { RuntimeError } from "../runtime/error.ts";
import type { CallOptions, Runtime } from "../runtime/runtime.ts";

/** Thaws a container that may be frozen, so that its cgroup can be removed. Never rejects; a failure is logged. */
export async function thaw(
  runtime: Runtime,
  id: string,
  { log, ...bounds }: CallOptions & { readonly log: Logger },
): Promise<void> {
  try {
    await runtime.resume(id, bounds);
  } catch (error) {
    const fields = { id, error: messageOf(error) };
    // A checkpoint that ends a container takes it away from the runtime, cgroup and all.
    if (error instanceof RuntimeError && error.kind === "containerNotFound")
      log.debug("Nothing to thaw", fields);
    else log.warn("Cannot thaw a container", fields);
  }
}
