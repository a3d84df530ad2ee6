/**
 * Stdio around a runtime call: open the streams, run the runtime with the child's ends, adopt the
 * process that it leaves, start the streams. All or nothing.
 */

import { messageOf, ShimError } from "../base/error.ts";
import { within } from "../base/limit.ts";
import type { Logger } from "../base/log.ts";
import { plain, record, whole } from "../base/shape.ts";
import type { Child } from "../linux/children.ts";
import { SIGKILL } from "../linux/signals.ts";
import type { ProcessStdio } from "../stdio/opened-stdio.ts";
import { openStdio } from "../stdio/stdio.ts";
import type { ProcessContext } from "./context.ts";
import type { StdioPaths } from "./stdio-paths.ts";

/** How long Delete waits for the last bytes of an ended process to reach its client. */
const DRAIN_TIMEOUT_MS = 10_000;

/** How long an end is held back for a client that has not read everything. */
const READ_LIMIT_MS = 250;
/** Between looks; 0 is the next turn of the event loop, within which most clients have read. */
const READ_DELAYS_MS: readonly number[] = [0, 0, 0, 0, 1, 2, 5];
const READ_DELAY_MS = 10;

export interface StdioOwner {
  readonly containerId: string;
  /** Owner of the container's ends; 0 and 0 leave them as they are. */
  readonly ioUid: number;
  readonly ioGid: number;
}

export const stdioOwnerState = record({ containerId: plain, ioUid: whole, ioGid: whole });

/** Creates a process with these streams, and returns its pid. */
export type RunWithStdio = (stdio: ProcessStdio) => Promise<number>;

/**
 * Brings a process to life. `run` calls the runtime and returns the pid that it left behind.
 *
 * The hold is taken before the runtime starts, so a process that dies at once is still found. When a
 * step fails after the process exists, it is killed.
 */
export async function startStdio(options: {
  readonly paths: StdioPaths;
  readonly owner: StdioOwner;
  readonly context: ProcessContext;
  /** See `StdioRequest`. */
  readonly handsOver: boolean;
  /** Given the streams before the runtime runs. */
  readonly onOpen: (stdio: ProcessStdio) => void;
  readonly run: RunWithStdio;
}): Promise<Child> {
  const { context, owner, handsOver } = options;
  const paths = { ...options.paths, handsOver };
  await using undo = new AsyncDisposableStack();
  const stdio = await open(paths, owner, context);
  undo.defer(() => stdio.close());
  options.onOpen(stdio);
  const child = await adoptAfter(context, () => options.run(stdio));
  undo.defer(() => {
    child.signal(SIGKILL);
  });
  await stdio.attach();
  undo.move();
  return child;
}

async function open(
  paths: StdioPaths & { readonly handsOver: boolean },
  owner: StdioOwner,
  context: ProcessContext,
): Promise<ProcessStdio> {
  const { namespace } = context;
  try {
    return await openStdio({ ...paths, ...owner, namespace }, context);
  } catch (cause) {
    const reason = cause instanceof ShimError ? cause.reason : "unknown";
    // The stock shim's words, which it uses for execs too.
    throw new ShimError(reason, `failed to create init process I/O: ${messageOf(cause)}`, {
      cause,
    });
  }
}

async function adoptAfter(context: ProcessContext, run: () => Promise<number>): Promise<Child> {
  using _hold = context.children.hold();
  return context.children.adopt(await run());
}

/**
 * Waits until the client has read what an ended process wrote: until a moment after `exitMs` (of
 * `performance.now`), or until `enough` resolves. Never rejects.
 *
 * To be done before the end is reported: many clients stop reading when they hear of it (containerd's own
 * closes its FIFOs then, in `task.Delete`), and what they have not read by then is lost to them.
 */
export async function untilRead(
  stdio: Pick<ProcessStdio, "isBeingRead">,
  {
    exitMs,
    enough,
    log,
    id,
  }: {
    readonly exitMs: number;
    readonly enough: Promise<void>;
    readonly log: Logger;
    readonly id: string;
  },
): Promise<void> {
  let isEnough = false;
  void enough.then(() => {
    isEnough = true;
  });
  const isOver = () => isEnough || performance.now() - exitMs >= READ_LIMIT_MS;
  try {
    for (let looks = 0; stdio.isBeingRead && !isOver(); looks++) {
      await Promise.race([delay(READ_DELAYS_MS[looks] ?? READ_DELAY_MS), enough]);
    }
  } catch (error) {
    log.warn("Cannot see whether output is read", { id, error: messageOf(error) });
  }
}

function delay(ms: number): Promise<void> {
  return ms > 0 ? Bun.sleep(ms) : new Promise((resolve) => setImmediate(resolve));
}

/** Waits, within a limit, until the client has all that an ended process wrote. */
export async function settleStdio(
  stdio: ProcessStdio | undefined,
  log: Logger,
  id: string,
): Promise<void> {
  if (stdio === undefined) return;
  if ((await within(stdio.drained, DRAIN_TIMEOUT_MS)) === "late") {
    log.warn("Output was not read in time and is cut off", { id, limitMs: DRAIN_TIMEOUT_MS });
  }
}
