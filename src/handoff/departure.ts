/** Leaving a program for another one in the same process, with the document and every descriptor in it. */

import type { Inventory } from "../base/inventory.ts";
import { hasCode } from "../linux/errno.ts";
import { type OwnedFd, setCloseOnExec } from "../linux/fd.ts";
import { executeProgram, OWN_PROGRAM, openProgram } from "../linux/program.ts";
import { blockSignals, SIGCHLD, unblockSignals } from "../linux/signals.ts";
import { encodeDocument, type HandoffDocument, writeDocument } from "./document.ts";
import { HANDOFF_VARIABLE } from "./variables.ts";

export interface Departure {
  readonly document: HandoffDocument;
  readonly inventory: Inventory;
  /** The program to go on as; lent. */
  readonly program: OwnedFd;
  readonly argv: readonly string[];
  /** `NAME=value`, without those of a handoff. */
  readonly env: readonly string[];
  /** More variables, and the descriptors in them, made when that of the present program is known. */
  readonly addition?: (
    image: number,
    undo: DisposableStack,
  ) => { readonly variable: string; readonly fd: OwnedFd };
}

/**
 * Leaves. Must be called in the same turn of the event loop as the snapshot was taken in. Throws
 * SystemError when the kernel refuses, with everything as it was.
 */
export function leave({ document, inventory, program, argv, env, addition }: Departure): never {
  using undo = new DisposableStack();
  const file = undo.use(writeDocument(encodeDocument(document)));
  const image = undo.use(openProgram(OWN_PROGRAM));
  const added = addition?.(image.fd, undo);
  const passed = [...inventory.descriptors.keys(), file.fd, image.fd];
  if (added !== undefined) passed.push(added.fd.fd);
  undo.defer(() => {
    for (const fd of passed) setCloseOnExec(fd, true);
  });
  for (const fd of passed) setCloseOnExec(fd, false);
  // The engine does not start in a directory that is gone, and a bundle may go at any time. The sleeper
  // stays in it until it wakes.
  if (added === undefined) {
    undo.defer(() => enterDirectory(document.directory));
    process.chdir("/");
  }
  // One that comes from here on waits for the next program.
  blockSignals([SIGCHLD]);
  undo.defer(() => unblockSignals([SIGCHLD]));
  const variables = [...env, `${HANDOFF_VARIABLE}=${file.fd}:${image.fd}`];
  if (added !== undefined) variables.push(added.variable);
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
