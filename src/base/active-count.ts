/** A running count that can be waited for to be zero. */

/** How many are at work, which can be waited for to be none. */
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

  /** Resolves when none is at work. */
  async idle(): Promise<void> {
    if (this.#count === 0) return;
    this.#idle ??= Promise.withResolvers<void>();
    await this.#idle.promise;
  }
}
