/** Thaws what was frozen when the shim wants it, and not a client. */

import { messageOf } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import { type FailureKind, RuntimeError } from "../runtime/error.ts";
import type { CallOptions, Runtime } from "../runtime/runtime.ts";

/**
 * Failures that leave nothing frozen: a checkpoint that ends a container takes it from the runtime, cgroup
 * and all, and a pause that was given up may not have got that far.
 */
const NOTHING_FROZEN: ReadonlySet<FailureKind> = new Set(["containerNotFound", "notPaused"]);

/** Thaws a container that may be frozen, so that its cgroup can be removed. Never rejects; a failure is logged. */
export async function thaw(
  runtime: Pick<Runtime, "resume">,
  id: string,
  { log, ...bounds }: CallOptions & { readonly log: Logger },
): Promise<void> {
  try {
    await runtime.resume(id, bounds);
  } catch (error) {
    const fields = { id, error: messageOf(error) };
    if (error instanceof RuntimeError && NOTHING_FROZEN.has(error.kind))
      log.debug("Nothing to thaw", fields);
    else log.warn("Cannot thaw a container", fields);
  }
}
