/** How many OOM kills have been reported: what the watches of both cgroup versions count with. */

/** The kernel's counters as they were when last reported. */
export class Tally {
  #counts: ReadonlyMap<string, number>;

  constructor(counts: ReadonlyMap<string, number>) {
    this.#counts = counts;
  }

  /** By cgroup: "" for the container's own, "/a/b" for one below it. Plain data, to be handed over. */
  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  /** Takes over `current`; true when any counter is higher than it was. */
  update(current: ReadonlyMap<string, number>): boolean {
    const before = this.#counts;
    this.#counts = current;
    return [...current].some(([name, count]) => count > (before.get(name) ?? 0));
  }
}
