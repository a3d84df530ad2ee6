/**
 * The OOM watch of cgroup v1.
 *
 * The kernel adds to an eventfd when it runs out of memory for the cgroup, *before* it has chosen
 * and counted a victim, and it does the same for every cgroup below: a notification is not a kill. The
 * counter `oom_kill` in memory.oom_control is exact, and raised before the victim gets its signal, so
 * whoever has seen the victim's exit can rely on it. Hence a notification makes us look at the
 * counter, now and a few times more, and the counter decides.
 *
 * The counter cannot be read once the cgroup is removed, which may be right after the exit (ENODEV, even
 * through a descriptor opened before). Then the notifications are the evidence. Removal itself adds
 * one, some milliseconds after the directory is gone, so one that was seen while the directory was
 * there is not a removal, and of two that came at any time one is not.
 */

import type { Inventory } from "../../base/inventory.ts";
import { plain, record, type Shaped, table, tagged, whole } from "../../base/shape.ts";
import { hasCode } from "../../linux/errno.ts";
import { openEventfd, takeEventfd } from "../../linux/eventfd.ts";
import { O_RDONLY, O_WRONLY, OwnedFd, openFd, writeFd } from "../../linux/fd.ts";
import type { Poller } from "../../linux/poller.ts";
import { Tally } from "../oom-tally.ts";
import { childCgroups } from "../pids.ts";
import { statDirectory } from "../stat-directory.ts";
import { readCounters } from "../stat-file.ts";

const OOM_CONTROL_FILE = "memory.oom_control";
const EVENT_CONTROL_FILE = "cgroup.event_control";
const KILLS = "oom_kill";
/** When to look again after a notification that no kill explains yet. A kill usually follows within microseconds. */
const RECHECK_MS: readonly number[] = [1, 5, 25, 100, 400, 1000];
/** Longest wait for the notification of the cgroup's removal. It takes an RCU grace period, 10 to 50 ms. */
const REMOVAL_WAIT_MS = 500;

const phaseState = tagged({
  quiet: {},
  /** Out of memory while the cgroup was there, and no kill counted yet. */
  notified: { attempt: whole },
  /** The cgroup is gone; the notifications since it was last known to exist. */
  gone: { notifications: whole },
  ended: {},
});
type Phase = Shaped<typeof phaseState>;

/** The fields of a {@link V1OomWatch}. */
export const v1OomFields = {
  directory: plain,
  eventfd: whole,
  counts: table(whole),
  phase: phaseState,
};
const v1OomState = record(v1OomFields);

/** `gone`: the cgroup does not exist. `uncounted`: the kernel (before 4.13) counts no kills. */
type Kills = ReadonlyMap<string, number> | "gone" | "uncounted";

export class V1OomWatch implements Disposable {
  readonly #directory: string;
  readonly #onOom: () => void;
  readonly #tally: Tally;
  readonly #owned: DisposableStack;
  readonly #eventfd: OwnedFd;
  readonly #decided = Promise.withResolvers<void>();
  #phase: Phase = { kind: "quiet" };
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Takes over `eventfd`, even when it throws. */
  private constructor(
    directory: string,
    eventfd: OwnedFd,
    poller: Poller,
    onOom: () => void,
    tally: Tally,
  ) {
    using undo = new DisposableStack();
    this.#directory = directory;
    this.#onOom = onOom;
    this.#tally = tally;
    this.#eventfd = undo.use(eventfd);
    undo.use(poller.watch(eventfd.fd, { readable: true }, () => this.#look()));
    this.#owned = undo.move();
  }

  /** Watches the memory cgroup in `directory`; undefined when it does not exist. */
  static open(directory: string, poller: Poller, onOom: () => void): V1OomWatch | undefined {
    const kills = readKills(directory);
    if (kills === "gone") return undefined;
    const tally = new Tally(kills === "uncounted" ? new Map() : kills);
    const eventfd = openEventfd();
    try {
      register(directory, eventfd.fd);
    } catch (error) {
      eventfd[Symbol.dispose]();
      throw error;
    }
    const watch = new V1OomWatch(directory, eventfd, poller, onOom, tally);
    // A kill between the first reading and the registration has notified nobody.
    queueMicrotask(() => watch.#look());
    return watch;
  }

  /** The eventfd is already registered, and what it holds has not been looked at. */
  static restore(state: Shaped<typeof v1OomState>, poller: Poller, onOom: () => void): V1OomWatch {
    const tally = new Tally(new Map(Object.entries(state.counts)));
    const eventfd = OwnedFd.restore(state.eventfd);
    const watch = new V1OomWatch(state.directory, eventfd, poller, onOom, tally);
    if (state.phase.kind === "notified") watch.#expectKill(state.phase.attempt);
    else watch.#phase = state.phase;
    return watch;
  }

  snapshot(inventory: Inventory) {
    if (this.#phase.kind === "notified") inventory.addErrand("a kill is looked for");
    return {
      kind: "v1",
      directory: this.#directory,
      eventfd: inventory.keepOpen("oom-eventfd", this.#eventfd.fd),
      counts: this.#tally.counts,
      phase: this.#phase,
    } as const;
  }

  /** See OomWatch. */
  check(): void {
    this.#look();
  }

  /** See OomWatch. */
  async finalCheck(): Promise<void> {
    this.#look();
    const { kind } = this.#phase;
    // Init's exit has been seen, so an OOM kill of it would have been counted.
    if (kind === "notified") this.#rest();
    if (kind !== "gone" || this.#phase.notifications === 0) return;
    const timer = setTimeout(() => this.#decided.resolve(), REMOVAL_WAIT_MS);
    await this.#decided.promise;
    clearTimeout(timer);
  }

  [Symbol.dispose](): void {
    this.#end();
    this.#owned[Symbol.dispose]();
  }

  /** The eventfd first: if the counter can still be read afterwards, what it holds was added while the cgroup existed. */
  #look(): void {
    if (this.#phase.kind === "ended") return;
    const notifications = takeEventfd(this.#eventfd.fd);
    const kills = tryReadKills(this.#directory);
    if (kills === undefined) {
      // Another look will tell.
      if (notifications > 0) this.#expectKill(0);
    } else if (kills === "gone") {
      this.#lookAtRemains(notifications);
    } else if (kills === "uncounted") {
      if (notifications > 0) this.#onOom();
    } else if (this.#tally.update(kills)) {
      this.#rest();
      this.#onOom();
    } else if (notifications > 0) {
      this.#expectKill(0);
    }
  }

  #lookAtRemains(notifications: number): void {
    const phase = this.#phase;
    const earlier = phase.kind === "gone" ? phase.notifications : 0;
    if (phase.kind === "notified" || earlier + notifications > 1) {
      this.#end();
      this.#onOom();
    } else {
      this.#rest();
      this.#phase = { kind: "gone", notifications: earlier + notifications };
    }
  }

  #expectKill(attempt: number): void {
    this.#rest();
    const delay = RECHECK_MS[attempt];
    if (delay === undefined) return; // Out of memory, but nothing here was killed for it.
    this.#phase = { kind: "notified", attempt };
    this.#timer = setTimeout(() => {
      this.#look();
      const phase = this.#phase;
      if (phase.kind === "notified" && phase.attempt === attempt) this.#expectKill(attempt + 1);
    }, delay);
  }

  #rest(): void {
    clearTimeout(this.#timer);
    this.#phase = { kind: "quiet" };
  }

  #end(): void {
    clearTimeout(this.#timer);
    this.#phase = { kind: "ended" };
    this.#decided.resolve();
  }
}

/** Registers for notifications (the kernel's cgroup-v1/memory.rst, section 9); without them the final check remains. */
function register(directory: string, eventfd: number): void {
  try {
    using oomControl = openFd(`${directory}/${OOM_CONTROL_FILE}`, O_RDONLY);
    using eventControl = openFd(`${directory}/${EVENT_CONTROL_FILE}`, O_WRONLY);
    writeFd(eventControl.fd, Buffer.from(`${eventfd} ${oomControl.fd}`));
  } catch (error) {
    // A real-time kernel has no such notifications; a cgroup may vanish at any time.
    if (!hasCode(error, "ENOENT", "ENODEV", "EOPNOTSUPP", "ENOTSUP", "EINVAL")) throw error;
  }
}

/** {@link readKills}; undefined when they cannot be read now, for want of descriptors. */
function tryReadKills(directory: string): Kills | undefined {
  try {
    return readKills(directory);
  } catch {
    return undefined;
  }
}

/** Kills by cgroup, in `directory` and below: v1 counts a kill only in the cgroup of its victim. */
function readKills(directory: string): Kills {
  const kills = new Map<string, number>();
  const own = collectKills(directory, "", kills);
  return own === "counted" ? kills : own;
}

/** Whether `top` + `name` existed, and counts; one that vanishes below it does not matter. */
function collectKills(
  top: string,
  name: string,
  kills: Map<string, number>,
): "counted" | "gone" | "uncounted" {
  const counters = readCounters(statDirectory(top + name), OOM_CONTROL_FILE);
  if (counters === undefined) return "gone";
  const count = counters.get(KILLS);
  if (count === undefined) return "uncounted";
  kills.set(name, Number(count));
  for (const child of childCgroups(top + name)) collectKills(top, `${name}/${child}`, kills);
  return "counted";
}
