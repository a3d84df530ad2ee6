/** A promise that is resolved from outside: Node 20 has no `Promise.withResolvers`. */

export class Completion {
  readonly promise: Promise<void>;
  #resolve: () => void = () => {};

  constructor() {
    this.promise = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Resolves the promise. Idempotent. */
  resolve(): void {
    this.#resolve();
  }
}
