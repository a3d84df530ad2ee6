/** The containers of this shim by id, and the ids that a Create in flight has taken. */

import { ShimError } from "../base/error.ts";
import type { Inventory } from "../base/inventory.ts";
import type { Container } from "../container/container.ts";

/** Containers by id. */
export class Registry {
  readonly #containers = new Map<string, Container>();
  readonly #reserved = new Set<string>();

  /** Containers that exist or are being created. */
  get size(): number {
    return this.#containers.size + this.#reserved.size;
  }

  /** Whether there is no container yet, but one is being created. */
  get isOnlyCreating(): boolean {
    return this.#containers.size === 0 && this.#reserved.size > 0;
  }

  /**
   * Takes an id before anything is awaited, so that of two Creates with one id only one goes on.
   * Dispose the reservation when the Create has ended, either way. Throws ShimError `alreadyExists`.
   */
  reserve(id: string): Disposable {
    if (this.#containers.has(id) || this.#reserved.has(id)) {
      throw new ShimError("alreadyExists", `task ${id}`);
    }
    this.#reserved.add(id);
    return { [Symbol.dispose]: () => this.#reserved.delete(id) };
  }

  /** Adds the reserved ids to `inventory`: what becomes of them is not known yet. */
  inspect(inventory: Inventory): void {
    for (const id of this.#reserved) inventory.addObstacle(`${id} is being created`);
  }

  add(container: Container): void {
    this.#containers.set(container.id, container);
  }

  /** Removes this very container: another that has taken its id meanwhile stays. */
  remove(container: Container): void {
    if (this.#containers.get(container.id) === container) this.#containers.delete(container.id);
  }

  find(id: string): Container | undefined {
    return this.#containers.get(id);
  }

  /** Throws ShimError `notFound` "container not created". */
  get(id: string): Container {
    const container = this.#containers.get(id);
    if (container === undefined) throw new ShimError("notFound", "container not created");
    return container;
  }

  values(): IterableIterator<Container> {
    return this.#containers.values();
  }
}
