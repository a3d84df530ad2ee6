/** Leaving a program for another one in the same process, with the document and every descriptor in it. */

import type { Inventory } from "../base/inventory.ts";
import { hasCode } from "../linux/errno.ts";
import { type OwnedFd, setCloseOnExec } from "../linux/fd.ts";
import { executeProgram, OWN_PROGRAM, openProgram } from "../linux/program.ts";
import { blockSignals, SIGCHLD, unblockSignals } from "../linux/signals.ts";
import { encodeDocument, type HandoffDocument, writeDocument } from "./document.ts";
import { HANDOFF_VARIABLE } from "./variables.ts";

/** What a departure leaves open and passes on, before additions. */
export interface Passage {
  /** The descriptor of the present program. */
  readonly image: number;
  /** Every descriptor that is passed on. */
  readonly fds: readonly number[];
  /** The environment, `NAME=value`. */
  readonly variables: readonly string[];
}

/** One more variable and its descriptors, made when the rest is known; `undo` owns what a failure would leave behind. */
export type Addition = (
  passage: Passage,
  undo: DisposableStack,
) => { readonly variable: string; readonly fds: readonly number[] };

export interface Departure {
  readonly document: HandoffDocument;
  readonly inventory: Inventory;
  /** The program to execute; lent. */
  readonly program: OwnedFd;
  readonly argv: readonly string[];
  /** `NAME=value`, without those of a handoff. */
  readonly env: readonly string[];
  readonly addition?: Addition;
  /** Stays in the working directory; the engine does not start in one that is gone. */
  readonly keepsDirectory?: boolean;
}

/**
 * Leaves. Must be called in the same turn of the event loop in which the snapshot was taken. Throws
 * SystemError when the kernel refuses, with everything unchanged.
 */
export function leave(departure: Departure): never {
  const { document, inventory, program, argv, addition } = departure;
  using undo = new DisposableStack();
  const file = undo.use(writeDocument(encodeDocument(document)));
  const image = undo.use(openProgram(OWN_PROGRAM));
  const own = [file.fd, image.fd];
  const env = [...departure.env, `${HANDOFF_VARIABLE}=${own.join(":")}`];
  const known = { image: image.fd, fds: [...inventory.descriptors.keys(), ...own], variables: env };
  const added = addition?.(known, undo);
  const fds = [...known.fds, ...(added?.fds ?? [])];
  undo.defer(() => {
    for (const fd of fds) setCloseOnExec(fd, true);
  });
  for (const fd of fds) setCloseOnExec(fd, false);
  // A bundle may vanish at any time.
  if (departure.keepsDirectory !== true) {
    undo.defer(() => enterDirectory(document.directory));
    process.chdir("/");
  }
  // A signal that arrives from here on waits for the next program.
  blockSignals([SIGCHLD]);
  undo.defer(() => unblockSignals([SIGCHLD]));
  const variables = added === undefined ? env : [...env, added.variable];
  return executeProgram(program.fd, argv, variables);
}

/** Makes it the working directory, unless it is gone. */
export function enterDirectory(path: string): void {
  try {
    process.chdir(path);
  } catch (error) {
    if (!hasCode(error, "ENOENT", "ENOTDIR")) throw error;
  }
}
