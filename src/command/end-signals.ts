/** The signals that ask a daemon to end, in any of its lives (`daemon.ts`). */

const SIGNALS = ["SIGTERM", "SIGINT"] as const;

/** Collects these signals from when it is made, which is at the very beginning of a process: none is lost. */
export class EndSignals {
  #next = Promise.withResolvers<string>();
  #isAwaited = false;
  #haveCome = false;

  constructor() {
    for (const signal of SIGNALS) {
      process.on(signal, () => {
        this.#haveCome = true;
        this.#next.resolve(signal);
      });
    }
  }

  /** Whether any has come so far. */
  get haveCome(): boolean {
    return this.#haveCome;
  }

  /** Resolves to the name of the first that comes, or has already come. */
  next(): Promise<string> {
    if (this.#isAwaited && !this.#haveCome) this.#next = Promise.withResolvers<string>();
    this.#isAwaited = true;
    return this.#next.promise;
  }
}
