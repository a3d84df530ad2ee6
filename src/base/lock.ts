/** A serial lock: its holder runs alone, in the order of asking. */

/**
 * Orders asynchronous steps on one object.
 *
 * `acquire` resolves in the order of the calls; the returned disposable is the permit, so
 * `using` releases it on every path. There is no deadline here: whoever holds the lock
 * bounds what it does.
 */
export class Lock {
  #tail: Promise<void> = Promise.resolve();

  async acquire(): Promise<Disposable> {
    const previous = this.#tail;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#tail = promise;
    await previous;
    return { [Symbol.dispose]: () => resolve() };
  }
}
