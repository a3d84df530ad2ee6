/** Why the debugging command gives up: one line for the person who called it, and the exit code. */

/** Nothing was begun: what was asked cannot be. */
export const EXIT_USAGE = 2;
/** The runtime or the shim has failed. */
export const EXIT_FAILURE = 1;

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
