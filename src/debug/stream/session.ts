/** A process of a container in the foreground: it has our terminal or streams, and we end as it does. */

import { constants } from "node:os";
import type { TaskClient } from "../../rpc/task-client.ts";
import { callFailure } from "../connection.ts";
import { formatDuration } from "../output/units.ts";
import { EXIT_FAILURE, EXIT_SIGNAL, EXIT_TIMEOUT, Refusal } from "../refusal.ts";
import type { ContainerStreams } from "./container-streams.ts";
import { LeaveKeys } from "./leave-keys.ts";
import type { OwnTerminal } from "./own-terminal.ts";
import type { SignalRelay } from "./signal-relay.ts";

/** How long a process that has ended may keep its output open without writing to it. */
const QUIET_MS_MAX = 10_000;

/** The process, by its names in the Task API. */
export interface Subject {
  readonly task: TaskClient;
  readonly id: string;
  /** "" for init. */
  readonly execId: string;
  /** For messages: "container web". */
  readonly name: string;
}

export interface SessionOptions {
  readonly subject: Subject;
  readonly streams: ContainerStreams;
  /** Undefined without one of ours, or when the process has none. */
  readonly terminal: OwnTerminal | undefined;
  readonly signals: SignalRelay;
  /** Lets the process begin; it may have begun already. */
  readonly begin: () => Promise<void>;
  /** Undefined for no limit. */
  readonly timeoutMs?: number | undefined;
  /** What happens to the process when we give up, for messages: "was killed". */
  readonly fate: string;
  /** Whether keys detach from the process. */
  readonly canLeave?: boolean;
}

/** How it ended for us: the process with its status, or we have detached. */
export type SessionEnd =
  | { readonly kind: "exited"; readonly status: number }
  | { readonly kind: "detached" };

/**
 * From the beginning of the process to its end. Throws a Refusal when output can no longer be passed on
 * or the time is over: what happens to the process then is up to the caller.
 */
export async function runSession(options: SessionOptions): Promise<SessionEnd> {
  const { subject, streams, terminal, signals } = options;
  const { task, id, execId, name } = subject;
  // Asked before it begins, so that no exit can be missed.
  const exited = task.wait({ id, execId }).then(
    ({ exitStatus }): SessionEnd => ({ kind: "exited", status: exitStatus }),
    (thrown: unknown) => callFailure(`Cannot wait for ${name}`, thrown),
  );
  terminal?.makeRaw();
  await options.begin();
  signals.passTo((number) => passSignal(subject, terminal, number));
  const keys = options.canLeave && terminal !== undefined ? new LeaveKeys() : undefined;
  const left = passStdin(subject, streams, keys);
  using timeout = startTimeout(options.timeoutMs, `${name} ${options.fate}`);
  const end = await Promise.race([exited, streams.broken(), left, timeout.passed]);
  if (end instanceof Refusal) throw end;
  if (end.kind !== "broken") return end;
  const { error } = end;
  if (error.code === "EPIPE") {
    // As for any program in a pipeline; the process itself cannot be told.
    throw new Refusal(
      EXIT_SIGNAL + constants.signals.SIGPIPE,
      `Nobody reads the output any more: ${name} ${options.fate}`,
    );
  }
  throw new Refusal(EXIT_FAILURE, `Cannot write output: ${error.message}; ${name} ${options.fate}`);
}

/** Waits for the last output of a process that has ended. */
export async function drainSession(
  streams: ContainerStreams,
  warn: (message: string) => void,
): Promise<void> {
  if (await streams.drain(QUIET_MS_MAX)) return;
  warn("A process holds the output of the container open: what it writes now is lost");
}

/** Gives the process's terminal the size of ours. Never rejects: a size is no reason to fail. */
export async function resizeToOwn(
  { task, id, execId }: Subject,
  terminal: OwnTerminal | undefined,
): Promise<void> {
  const size = terminal?.size;
  if (size === undefined) return;
  try {
    await task.resizePty({ id, execId, width: size.columns, height: size.rows });
  } catch {
    // It has ended meanwhile.
  }
}

/** Resolves only when we are to detach from the process. */
async function passStdin(
  { task, id, execId }: Subject,
  streams: ContainerStreams,
  keys: LeaveKeys | undefined,
): Promise<SessionEnd> {
  const end = await streams.passStdin(keys && ((chunk) => keys.isComplete(chunk)));
  if (end === "left") return { kind: "detached" };
  if (end === "eof") {
    try {
      await task.closeIO({ id, execId, stdin: true });
    } catch {
      // It has ended meanwhile.
    }
  }
  return await Promise.withResolvers<SessionEnd>().promise;
}

function passSignal(subject: Subject, terminal: OwnTerminal | undefined, number: number): void {
  if (number === constants.signals.SIGWINCH && terminal !== undefined) {
    void resizeToOwn(subject, terminal);
    return;
  }
  // A shell has set its own modes while we were stopped.
  if (number === constants.signals.SIGCONT) terminal?.makeRaw();
  const { task, id, execId } = subject;
  task.kill({ id, execId, signal: number, all: false }).catch(() => {
    // It has ended meanwhile: its status is on the way.
  });
}

function startTimeout(
  timeoutMs: number | undefined,
  fate: string,
): Disposable & { readonly passed: Promise<Refusal> } {
  const { promise, resolve } = Promise.withResolvers<Refusal>();
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(
          () =>
            resolve(
              new Refusal(EXIT_TIMEOUT, `No end within ${formatDuration(timeoutMs)}: ${fate}`),
            ),
          timeoutMs,
        );
  return { passed: promise, [Symbol.dispose]: () => clearTimeout(timer) };
}
