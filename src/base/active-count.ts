/** A running count whose fall to zero can be awaited. */

/** How many are active; resolves when none is. */
export class ActiveCount {
  #count = 0;
  #idle: PromiseWithResolvers<void> | undefined;

  get isActive(): boolean {
    return this.#count > 0;
  }

  /** One more, until the result is disposed. */
  enter(): Disposable {
    this.#count++;
    let isIn = true;
    return {
      [Symbol.dispose]: () => {
        if (!isIn) return;
        isIn = false;
        this.#count--;
        if (this.#count > 0) return;
        this.#idle?.resolve();
        this.#idle = undefined;
      },
    };
  }

  /** Resolves when none is active. */
  async idle(): Promise<void> {
    if (this.#count === 0) return;
    this.#idle ??= Promise.withResolvers<void>();
    await this.#idle.promise;
  }
}
