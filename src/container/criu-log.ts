/** The log that CRIU leaves of a checkpoint that has failed. */

import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf, ShimError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";

/** Keeps the log of the `work` directory in `bundle`; returns the error to throw for `cause`, which says where. */
export function keepCriuLog(
  cause: unknown,
  { work, bundle, log }: { readonly work: string; readonly bundle: string; readonly log: Logger },
): ShimError {
  const path = join(bundle, "criu-dump.log");
  try {
    copyFileSync(join(work, "dump.log"), path);
  } catch (error) {
    log.warn("No CRIU log to keep", { error: messageOf(error) });
  }
  const [line] = messageOf(cause).split("\n");
  const reason = cause instanceof ShimError ? cause.reason : "unknown";
  // The stock shim's words, its space included.
  return new ShimError(reason, `${line} path= ${path}`, { cause });
}
