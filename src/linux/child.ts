/** One child as others see it, and as plain data; `children.ts` spawns, adopts and reaps. */

import type { Inventory } from "../base/inventory.ts";
import { maybe, real, record, type Shaped, whole } from "../base/shape.ts";
import type { OwnedFd } from "./fd.ts";
import { signalPid, signalPidfd, signalProcessGroup } from "./pidfd.ts";
import { waitUntilReady } from "./poll.ts";
import type { Watch } from "./poller.ts";

/** How a process ended. */
export interface Exit {
  readonly pid: number;
  /** 0-255: the exit code, or 128 + signal. */
  readonly status: number;
  /** The signal that killed it, or 0. */
  readonly signal: number;
  /** When it was reaped, milliseconds since the epoch. */
  readonly atMs: number;
}

/** A child as it is handed over: which one it is, and its exit if that has been seen. */
export const childState = record({
  pid: whole,
  pidfd: maybe(whole),
  exit: maybe(record({ pid: whole, status: whole, signal: whole, atMs: real })),
});
export type ChildState = Shaped<typeof childState>;

/** A process whose exit this process will see. */
export interface Child {
  readonly pid: number;
  /** Resolves once; never rejects. */
  readonly exited: Promise<Exit>;
  /** Undefined while it runs. Set before `exited` resolves. */
  readonly exit: Exit | undefined;
  /**
   * Checks whether it has died, and reaps it if so: `exit` is set when this returns. Only for lost
   * notifications (SIGCHLD is lost when another is pending, and is all there is on kernels without pidfds).
   */
  look(): void;
  /** Sends a signal; false when it has exited. Throws SystemError (EPERM, EINVAL). */
  signal(number: number): boolean;
  /**
   * Signals the process group that it leads, so its own children too; false once it has exited.
   * Only for a child spawned with `leads`.
   */
  signalGroup(number: number): boolean;
  /** For {@link Children.restore}. */
  snapshot(inventory: Inventory): ChildState;
}

/** A child with what is known of it. */
export interface TrackedChild {
  readonly pid: number;
  readonly pidfd: OwnedFd | undefined;
  /** Whether it was an orphan: a process of a container, not one that this process has spawned. */
  readonly isAdopted: boolean;
  readonly resolve: (exit: Exit) => void;
  watch: Watch | undefined;
  exit: Exit | undefined;
}

/** Whether the process is a zombie or gone; found without waiting, as it may not be a child of ours. */
export function hasDied({ pid, pidfd }: TrackedChild): boolean {
  if (pidfd?.isOpen) return waitUntilReady(pidfd.fd, "readable", 0);
  try {
    return !signalPid(pid, 0);
  } catch {
    return false; // It is there, and another user's.
  }
}

/** What others see of a tracked child; `look` finds an exit whose notification was lost. */
export function childOf(entry: TrackedChild, exited: Promise<Exit>, look: () => void): Child {
  const { pid } = entry;
  return {
    pid,
    exited,
    get exit() {
      return entry.exit;
    },
    look,
    signal: (number) => {
      if (entry.exit !== undefined) return false;
      if (entry.pidfd?.isOpen) return signalPidfd(entry.pidfd.fd, number);
      return signalPid(pid, number);
    },
    // By number, safely: until it is reaped, which happens nowhere but here, the number stays its own.
    signalGroup: (number) => entry.exit === undefined && signalProcessGroup(pid, number),
    snapshot: (inventory) => {
      const { exit } = entry;
      if (exit !== undefined) return { pid, pidfd: undefined, exit };
      inventory.addChild(pid);
      return { pid, pidfd: inventory.keep(`process-${pid}`, entry.pidfd), exit };
    },
  };
}
