/**
 * The OOM watch of cgroup v2: inotify on `memory.events`, and its counter `oom_kill`.
 *
 * Only that counter means a kill: `oom` counts allocations that failed. It includes the cgroups below, and
 * is raised before the victim gets its signal. The kernel tells of a change of the file at most a hundred
 * times a second, and not at all of the cgroup's end; a removed cgroup reads as ENODEV or ENOENT.
 */

import { hasCode } from "../../linux/errno.ts";
import { addInotifyWatch, IN_MODIFY, openInotify, takeInotify } from "../../linux/inotify.ts";
import type { Poller } from "../../linux/poller.ts";
import { type OomCounts, Tally } from "../oom-tally.ts";
import { readCounters } from "../stat-file.ts";
import { MEMORY_EVENTS_FILE } from "./memory.ts";

const KILLS = "oom_kill";

export class V2OomWatch implements Disposable {
  readonly #directory: string;
  readonly #onOom: () => void;
  readonly #tally: Tally;
  readonly #owned: DisposableStack;
  #isDisposed = false;

  private constructor(directory: string, poller: Poller, onOom: () => void, tally: Tally) {
    using undo = new DisposableStack();
    this.#directory = directory;
    this.#onOom = onOom;
    this.#tally = tally;
    const inotify = undo.use(openInotify());
    try {
      addInotifyWatch(inotify.fd, `${directory}/${MEMORY_EVENTS_FILE}`, IN_MODIFY);
    } catch (error) {
      if (!hasCode(error, "ENOENT", "ENODEV")) throw error; // Gone since: nothing will be told.
    }
    undo.use(
      poller.watch(inotify.fd, { readable: true }, () => {
        takeInotify(inotify.fd);
        this.#look();
      }),
    );
    this.#owned = undo.move();
    // A kill between the first reading and the watch has changed the file unseen.
    queueMicrotask(() => this.#look());
  }

  /** Watches the cgroup in `directory`; undefined when it is gone or memory is not accounted in it. */
  static open(
    directory: string,
    poller: Poller,
    onOom: () => void,
    counts: OomCounts | undefined,
  ): V2OomWatch | undefined {
    const kills = readKills(directory);
    if (kills === undefined) return undefined;
    const before = counts === undefined ? kills : new Map(Object.entries(counts));
    return new V2OomWatch(directory, poller, onOom, new Tally(before));
  }

  get counts(): OomCounts {
    return this.#tally.counts;
  }

  /** See OomWatch. */
  check(): void {
    this.#look();
  }

  /** See OomWatch. Never waits. */
  finalCheck(): Promise<void> {
    this.#look();
    return Promise.resolve();
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#owned[Symbol.dispose]();
  }

  #look(): void {
    if (this.#isDisposed) return;
    const kills = readKills(this.#directory);
    if (kills !== undefined && this.#tally.update(kills)) this.#onOom();
  }
}

function readKills(directory: string): ReadonlyMap<string, number> | undefined {
  const counters = readCounters(directory, MEMORY_EVENTS_FILE);
  return counters && new Map([["", Number(counters.get(KILLS) ?? 0n)]]);
}
