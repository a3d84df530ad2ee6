/**
 * What belongs to a snapshot of the process besides its data: the descriptors and children that must
 * stay, and what speaks against leaving them to somebody else now.
 *
 * Every object that holds state adds itself. A descriptor or a child that nobody added belongs to
 * something in flight, so whoever takes the snapshot compares with what the poller and the children know.
 */

/** What owns a descriptor, or did. */
interface Owned {
  readonly isOpen: boolean;
  readonly fd: number;
}

/** Filled by one round of snapshots. */
export class Inventory {
  readonly #descriptors = new Map<number, string>();
  readonly #remade = new Set<number>();
  readonly #pids = new Set<number>();
  readonly #obstacles: string[] = [];
  readonly #errands: string[] = [];
  #deadlineMs: number | undefined;

  /** Names a descriptor that must stay open. The result is its number; undefined when it is closed. */
  keep(name: string, owned: Owned | undefined): number | undefined {
    if (!owned?.isOpen) return undefined;
    this.#descriptors.set(owned.fd, name);
    return owned.fd;
  }

  /** {@link keep} for one that is known to be open. */
  keepOpen(name: string, fd: number): number {
    this.#descriptors.set(fd, name);
    return fd;
  }

  /** Accounts for a descriptor that is to be opened anew, and is not kept. */
  remake(fd: number): void {
    this.#remade.add(fd);
  }

  /** Names a child whose exit must still be seen. */
  addChild(pid: number): void {
    this.#pids.add(pid);
  }

  /** Something is in flight that a snapshot cannot hold: ask again later. */
  addObstacle(what: string): void {
    this.#obstacles.push(what);
  }

  /** Something that a snapshot holds, and that must continue in a moment: no time to sleep. */
  addErrand(what: string): void {
    this.#errands.push(what);
  }

  /** Something is due at this time, in milliseconds as `performance.now` counts them. */
  addDeadline(atMs: number): void {
    this.#deadlineMs = Math.min(atMs, this.#deadlineMs ?? atMs);
  }

  /** Names by descriptor. */
  get descriptors(): ReadonlyMap<number, string> {
    return this.#descriptors;
  }

  get obstacles(): readonly string[] {
    return this.#obstacles;
  }

  get errands(): readonly string[] {
    return this.#errands;
  }

  /** The first time at which something is due. */
  get deadlineMs(): number | undefined {
    return this.#deadlineMs;
  }

  knowsDescriptor(fd: number): boolean {
    return this.#descriptors.has(fd) || this.#remade.has(fd);
  }

  knowsChild(pid: number): boolean {
    return this.#pids.has(pid);
  }
}
