/** What keeps alive a daemon that others depend on: handlers for signals and errors that nobody else takes. */

import type { Logger } from "../../base/log.ts";

/** A daemon, and what it can tell about itself. */
export interface GuardOptions {
  readonly log: Logger;
  /** The state of the shim, line by line, for SIGUSR1. */
  readonly dump: () => readonly string[];
}

export interface Guard extends Disposable {
  /** Whether an error occurred that nobody handled. */
  readonly hasReported: boolean;
}

/**
 * Handles SIGUSR1 (dumps to the log), and errors that no promise and no caller handled.
 *
 * Those are bugs; they are logged with their stack, and the daemon goes on. It holds the exit status
 * and the stdio of every container of a pod: one lost callback breaks less than an end of the process
 * would break for all of them, and the engine gives no reason to distrust the rest of the state.
 * SIGPIPE is ignored by `main.ts` already.
 */
export function guardProcess({ log, dump }: GuardOptions): Guard {
  let hasReported = false;
  const onDump = () => {
    log.info("=== BEGIN shim dump ===");
    for (const line of dump()) log.info(line);
    log.info("=== END shim dump ===");
  };
  const onException = (error: unknown) => report("Uncaught exception", error);
  const onRejection = (error: unknown) => report("Unhandled rejection", error);
  const report = (what: string, error: unknown) => {
    hasReported = true;
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    log.error(what, { stack });
  };
  process.on("SIGUSR1", onDump);
  process.on("uncaughtException", onException);
  process.on("unhandledRejection", onRejection);
  return {
    get hasReported() {
      return hasReported;
    },
    [Symbol.dispose]: () => {
      process.off("SIGUSR1", onDump);
      process.off("uncaughtException", onException);
      process.off("unhandledRejection", onRejection);
    },
  };
}
