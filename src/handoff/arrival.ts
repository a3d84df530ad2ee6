/** Coming from another program of the same process: finding the document, and going back when it is of no use. */

import { messageOf, ShimError } from "../base/error.ts";
import { OwnedFd, setCloseOnExec } from "../linux/fd.ts";
import { commandLine, executeProgram } from "../linux/program.ts";
import { decodeDocument, type HandoffDocument, readDocument } from "./document.ts";
import { HANDOFF_VARIABLE, REFUSAL_VARIABLE, SLEEP_VARIABLE } from "./variables.ts";

type Variables = Readonly<Record<string, string | undefined>>;

/** What the program before this one has left. */
export class Arrival implements Disposable {
  /** Why the program that this one was left for went back. */
  readonly refusal: string | undefined;
  readonly #file: OwnedFd;
  readonly #image: OwnedFd;
  readonly #table: OwnedFd | undefined;
  readonly #variables: Variables;
  #document: HandoffDocument | undefined;

  private constructor(file: OwnedFd, image: OwnedFd, variables: Variables) {
    this.#file = file;
    this.#image = image;
    this.#variables = variables;
    this.refusal = variables[REFUSAL_VARIABLE];
    const table = /^\d+$/.exec(variables[SLEEP_VARIABLE] ?? "");
    this.#table = table === null ? undefined : OwnedFd.restore(Number(table[0]));
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

  /** Whether the process has slept since it was left. */
  get hasSlept(): boolean {
    return this.#table !== undefined;
  }

  /** Reads the document. Throws ShimError as {@link decodeDocument} does. */
  read(): HandoffDocument {
    this.#document ??= decodeDocument(readDocument(this.#file.fd));
    return this.#document;
  }

  /**
   * Goes back to the program that wrote the document, which takes it up again. Nothing of what was
   * handed over may have been used yet. Throws what `error` is when this program was gone back to itself.
   */
  goBack(error: unknown): never {
    if (this.refusal !== undefined) throw error;
    const fds = (this.#document?.descriptors ?? []).map(({ fd }) => fd);
    for (const fd of [...fds, this.#file.fd, this.#image.fd]) setCloseOnExec(fd, false);
    const env = Object.entries(this.#variables).flatMap(([name, value]) =>
      value === undefined || name === SLEEP_VARIABLE ? [] : [`${name}=${value}`],
    );
    const refusal = messageOf(error).replaceAll("\0", "");
    return executeProgram(this.#image.fd, commandLine(), [
      ...env,
      `${REFUSAL_VARIABLE}=${refusal}`,
    ]);
  }

  /** Lets go of the document and of the program before this one. */
  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
    this.#image[Symbol.dispose]();
    this.#table?.[Symbol.dispose]();
  }
}
