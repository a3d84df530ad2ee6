/** The pieces that the stdio of a process is made of. */

import type { Inventory } from "../base/inventory.ts";
import type { NamedFd } from "./named-fd.ts";
import type { PartState } from "./part-state.ts";

/** One stream of a process, or a helper beside it, from before the process starts until its deletion. */
export interface Part {
  /** The runtime has its copies of the child's ends, and ours are closed: begin. */
  attach(): void;
  /** The process has exited; others that it started may still write. */
  processExited(): void;
  /** Resolves when nothing remains to be copied for this part. Never rejects. */
  readonly drained: Promise<void>;
  /** Drops everything. Idempotent. Resolves when helpers are gone; never rejects. */
  close(): Promise<void>;
  /** Whether output is on its way to somebody who has it open for reading; absent where nobody can. */
  readonly isBeingRead?: boolean;
  /** Bytes of output that could not be written and are lost; absent where none can be. */
  readonly lostBytes?: number;
  /** What it holds open. */
  descriptors(): readonly NamedFd[];
  /** Its state; undefined while it cannot be told, or before {@link attach}. */
  snapshot(inventory: Inventory): PartState | undefined;
}
