/**
 * The OOM watch of cgroup v2: inotify on `memory.events`, and its counter `oom_kill`.
 *
 * Only that counter means a kill: `oom` counts allocations that failed. It includes the cgroups below, and
 * is raised before the victim gets its signal. The kernel reports changes of the file at most a hundred
 * times a second, and the cgroup's removal not at all; a removed cgroup reads as ENODEV or ENOENT.
 */

import type { Inventory } from "../../base/inventory.ts";
import { plain, record, type Shaped, table, whole } from "../../base/shape.ts";
import { hasCode } from "../../linux/errno.ts";
import { OwnedFd } from "../../linux/fd.ts";
import { addInotifyWatch, IN_MODIFY, openInotify, takeInotify } from "../../linux/inotify.ts";
import type { Poller } from "../../linux/poller.ts";
import { Tally } from "../oom-tally.ts";
import { statDirectory } from "../stat-directory.ts";
import { readCounters } from "../stat-file.ts";
import { MEMORY_EVENTS_FILE } from "./memory.ts";

const KILLS = "oom_kill";

/** The fields of a {@link V2OomWatch}. */
export const v2OomFields = { directory: plain, inotify: whole, counts: table(whole) };
const v2OomState = record(v2OomFields);

export class V2OomWatch implements Disposable {
  readonly #directory: string;
  readonly #onOom: () => void;
  readonly #tally: Tally;
  readonly #owned: DisposableStack;
  readonly #inotify: OwnedFd;
  #isDisposed = false;

  /** Takes over `inotify`, even when it throws. */
  private constructor(
    directory: string,
    inotify: OwnedFd,
    poller: Poller,
    onOom: () => void,
    tally: Tally,
  ) {
    using undo = new DisposableStack();
    this.#directory = directory;
    this.#onOom = onOom;
    this.#tally = tally;
    this.#inotify = undo.use(inotify);
    undo.use(
      poller.watch(inotify.fd, { readable: true }, () => {
        takeInotify(inotify.fd);
        this.#look();
      }),
    );
    this.#owned = undo.move();
  }

  /** Watches the cgroup in `directory`; undefined when it is gone or memory is not accounted in it. */
  static open(directory: string, poller: Poller, onOom: () => void): V2OomWatch | undefined {
    const kills = readKills(directory);
    if (kills === undefined) return undefined;
    const inotify = openInotify();
    try {
      addInotifyWatch(inotify.fd, `${directory}/${MEMORY_EVENTS_FILE}`, IN_MODIFY);
    } catch (error) {
      // Gone since: nothing will be reported.
      if (!hasCode(error, "ENOENT", "ENODEV")) {
        inotify[Symbol.dispose]();
        throw error;
      }
    }
    const watch = new V2OomWatch(directory, inotify, poller, onOom, new Tally(kills));
    // A kill between the first reading and the watch has changed the file unnoticed.
    queueMicrotask(() => watch.#look());
    return watch;
  }

  /** The file is already watched, and what inotify holds has not been looked at. */
  static restore(state: Shaped<typeof v2OomState>, poller: Poller, onOom: () => void): V2OomWatch {
    const tally = new Tally(new Map(Object.entries(state.counts)));
    const inotify = OwnedFd.restore(state.inotify);
    return new V2OomWatch(state.directory, inotify, poller, onOom, tally);
  }

  snapshot(inventory: Inventory) {
    return {
      kind: "v2",
      directory: this.#directory,
      inotify: inventory.keepOpen("oom-inotify", this.#inotify.fd),
      counts: this.#tally.counts,
    } as const;
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
    const kills = tryReadKills(this.#directory);
    if (kills !== undefined && this.#tally.update(kills)) this.#onOom();
  }
}

/** {@link readKills}; undefined also when they cannot be read now, for want of descriptors. */
function tryReadKills(directory: string): ReadonlyMap<string, number> | undefined {
  try {
    return readKills(directory);
  } catch {
    return undefined;
  }
}

function readKills(directory: string): ReadonlyMap<string, number> | undefined {
  const counters = readCounters(statDirectory(directory), MEMORY_EVENTS_FILE);
  return counters && new Map([["", Number(counters.get(KILLS) ?? 0n)]]);
}
