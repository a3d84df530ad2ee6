/** Arriving from another program of the same process: finding the document, and going back if it is of no use. */

import { messageOf, ShimError } from "../base/error.ts";
import { toEntries, type Variables } from "../base/variables.ts";
import { OwnedFd, setCloseOnExec, writeFd } from "../linux/fd.ts";
import { commandLine, executeProgram } from "../linux/program.ts";
import { decodeDocument, type HandoffDocument, readDocument } from "./document.ts";
import { signalsOf, wakers } from "./sleeper.ts";
import { GUARD_VARIABLE, HANDOFF_VARIABLE, REFUSAL_VARIABLE, SLEEP_VARIABLE } from "./variables.ts";

/** Variables meant for one program only. */
const PASSING: ReadonlySet<string> = new Set([REFUSAL_VARIABLE, SLEEP_VARIABLE, GUARD_VARIABLE]);

/**
 * What the previous program has left. Only {@link finish} lets go of it: if the process dies before that,
 * the guardian still needs all of it.
 */
export class Arrival {
  /** Why the program to which this one left the shim gave it back. */
  readonly refusal: string | undefined;
  readonly #file: OwnedFd;
  readonly #image: OwnedFd;
  readonly #table: OwnedFd | undefined;
  /** From the guardian, which detaches from this process when something is written to the pipe. */
  readonly #guard: { readonly table: OwnedFd; readonly pipe: OwnedFd } | undefined;
  readonly #variables: Variables;
  #document: HandoffDocument | undefined;

  private constructor(file: OwnedFd, image: OwnedFd, variables: Variables) {
    this.#file = file;
    this.#image = image;
    this.#variables = variables;
    // The guardian's has room after it.
    this.refusal = variables[REFUSAL_VARIABLE]?.trimEnd();
    const table = /^\d+$/.exec(variables[SLEEP_VARIABLE] ?? "");
    this.#table = table === null ? undefined : OwnedFd.restore(Number(table[0]));
    const [, guardTable, pipe] = /^(\d+):(\d+)$/.exec(variables[GUARD_VARIABLE] ?? "") ?? [];
    if (guardTable !== undefined && pipe !== undefined) {
      const restored = OwnedFd.restore(Number(guardTable));
      this.#guard = { table: restored, pipe: OwnedFd.restore(Number(pipe)) };
    }
  }

  /** Undefined when the process has just been started. Throws ShimError, SystemError (EBADF). */
  static find(variables: Variables): Arrival | undefined {
    const value = variables[HANDOFF_VARIABLE];
    if (value === undefined || value === "") return undefined;
    const [, file, image] = /^(\d+):(\d+)$/.exec(value) ?? [];
    if (file === undefined || image === undefined) {
      throw new ShimError("invalidArgument", `Cannot use ${HANDOFF_VARIABLE}=${value}`);
    }
    const documentFile = OwnedFd.restore(Number(file));
    return new Arrival(documentFile, OwnedFd.restore(Number(image)), variables);
  }

  /** Whether the process has slept since the program was left. */
  get hasSlept(): boolean {
    return this.#table !== undefined;
  }

  /** What ended the sleep, by the names of descriptors; none for a deadline or a child's exit. */
  get wakers(): readonly string[] {
    if (this.#table === undefined) return [];
    const names = new Map(this.#document?.descriptors.map(({ fd, name }) => [fd, name]));
    const table = readDocument(this.#table.fd);
    return wakers(table).map((fd) => (fd === signalsOf(table) ? "signals" : (names.get(fd) ?? "")));
  }

  /** Reads the document. Throws ShimError as {@link decodeDocument} does. */
  read(): HandoffDocument {
    this.#document ??= decodeDocument(readDocument(this.#file.fd));
    return this.#document;
  }

  /**
   * Goes back to the program that wrote the document, which takes it up again; also when that is this very
   * program, as what it failed for (memory, descriptors) may have passed by then. Nothing that was handed
   * over may have been used yet. Throws SystemError when that program cannot be executed.
   */
  goBack(error: unknown): never {
    const fds = (this.#document?.descriptors ?? []).map(({ fd }) => fd);
    for (const fd of [...fds, this.#file.fd, this.#image.fd]) setCloseOnExec(fd, false);
    // The engine does not start in a directory that is gone.
    process.chdir("/");
    const refusal = messageOf(error).replaceAll("\0", "");
    return executeProgram(this.#image.fd, commandLine(), [
      ...toEntries(this.#variables, PASSING),
      `${REFUSAL_VARIABLE}=${refusal}`,
    ]);
  }

  #dismissGuardian(): void {
    const guard = this.#guard;
    if (guard === undefined) return;
    try {
      // A process that was forked meanwhile may have the pipe too: closing it would not be a reliable signal.
      writeFd(guard.pipe.fd, Uint8Array.of(1));
    } catch {
      // It is already gone.
    }
    guard.pipe[Symbol.dispose]();
    guard.table[Symbol.dispose]();
  }

  /**
   * The shim is restored, and there is no way back: lets go of the document, of the previous program, and
   * of what belonged to sleeper and guardian.
   */
  finish(): void {
    this.#dismissGuardian();
    this.#file[Symbol.dispose]();
    this.#image[Symbol.dispose]();
    if (this.#table?.isOpen)
      OwnedFd.restore(signalsOf(readDocument(this.#table.fd)))[Symbol.dispose]();
    this.#table?.[Symbol.dispose]();
  }
}
