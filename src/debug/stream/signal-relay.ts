/** Signals that this process gets and that are meant for the container. */

import { constants } from "node:os";

/** Signals that ask a program to end, before there is one to pass them on to. */
const ENDING = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"] as const;
/** SIGTSTP and the like stay with the shell's job control. */
const PASSED = [...ENDING, "SIGUSR1", "SIGUSR2", "SIGCONT", "SIGALRM", "SIGWINCH"] as const;

type PassedSignal = (typeof PASSED)[number];

/** Takes the signals until disposed. */
export class SignalRelay implements Disposable {
  readonly #listeners = new Map<PassedSignal, () => void>();
  #pass: ((number: number) => void) | undefined;
  #interruption: number | undefined;

  constructor() {
    for (const name of PASSED) {
      const listener = () => this.#onSignal(name);
      this.#listeners.set(name, listener);
      process.on(name, listener);
    }
  }

  /** The signal that asked to end before {@link passTo}, if one did. */
  get interruption(): number | undefined {
    return this.#interruption;
  }

  /** From here on every signal goes to `pass`, by its number; the interruption first. */
  passTo(pass: (number: number) => void): void {
    this.#pass = pass;
    if (this.#interruption !== undefined) pass(this.#interruption);
  }

  [Symbol.dispose](): void {
    for (const [name, listener] of this.#listeners) process.off(name, listener);
  }

  #onSignal(name: PassedSignal): void {
    const number = constants.signals[name];
    if (this.#pass !== undefined) this.#pass(number);
    else if (ENDING.some((ending) => ending === name)) this.#interruption ??= number;
  }
}
