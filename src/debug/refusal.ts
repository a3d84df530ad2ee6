/** Why the debugging command gives up: one line for the person who called it, and the exit code. */

/** Done. */
export const EXIT_OK = 0;
/** The runtime or the shim has failed, or `doctor` has found something broken. */
export const EXIT_FAILURE = 1;
/** Nothing was begun: the request is not valid. */
export const EXIT_USAGE = 2;
/** No container or shim of that name is on this host. */
export const EXIT_NOT_FOUND = 3;
/** The shim is there and does not answer, or nobody listens at its address. */
export const EXIT_UNREACHABLE = 4;
/** A requested time limit has passed; the code is timeout(1)'s. */
export const EXIT_TIMEOUT = 124;
/** Added to the number of the signal that ended a program, as a shell does. */
export const EXIT_SIGNAL = 128;

/** Thrown anywhere below a verb, printed as it is by `shim.ts`. The message says what to do. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly exitCode: number;

  constructor(exitCode: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** A refusal before anything was begun. */
export function usageError(message: string, options?: ErrorOptions): Refusal {
  return new Refusal(EXIT_USAGE, message, options);
}
