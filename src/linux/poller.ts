/**
 * Readiness of descriptors that the runtime's own event loop cannot watch: ptys, FIFOs, eventfds,
 * inotify, pidfds.
 *
 * All of them are in one epoll instance (epoll(7)). An epoll descriptor is itself pollable, so a
 * duplicate of it is lent to the event loop disguised as a socket: when anything is ready, the loop
 * tries to read the duplicate, gets ENOTSOCK, closes it and calls back. That is the wake-up; when all
 * that was ready has been served, and no more is about to come (`linger.ts`), a new duplicate is lent.
 * It costs about 10 microseconds, allocates nothing that stays, and needs no thread and no timer.
 *
 * Watches are level-triggered: a handler that leaves its descriptor ready is called again, so it
 * must consume, narrow its interest, or dispose the watch.
 */

import { ptr } from "bun:ffi";
import { assert } from "../base/assert.ts";
import type { Inventory } from "../base/inventory.ts";
import { check, hasCode } from "./errno.ts";
import { isEpoll } from "./event-loop.ts";
import { duplicateFd, OwnedFd } from "./fd.ts";
import { pollTable } from "./libc.ts";
import { linger } from "./linger.ts";
import { isReadable } from "./pipe.ts";

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EPOLLIN = 0x001;
const EPOLLOUT = 0x004;
const EPOLLERR = 0x008;
const EPOLLHUP = 0x010;
/** struct epoll_event is packed on x86-64 and naturally aligned elsewhere. */
const EVENT_BYTES = process.arch === "x64" ? 12 : 16;
const EVENT_DATA_OFFSET = EVENT_BYTES - 8;
const EVENTS_PER_WAIT = 64;
/** How long descriptors are served before timers and sockets get their turn. */
const TURN_MS = 1;
/** How often to look while this process has no descriptor left to lend. */
const EXHAUSTED_RETRY_MS = 100;

/** What a descriptor is ready for. `hangup` and `error` are reported whether asked for or not. */
export interface Readiness {
  readonly readable: boolean;
  readonly writable: boolean;
  readonly hangup: boolean;
  readonly error: boolean;
}

/** What to report. With neither, only hang-ups and errors are. */
export interface Interest {
  readonly readable?: boolean;
  readonly writable?: boolean;
}

/** A watched descriptor. Dispose it before the descriptor is closed. */
export interface Watch extends Disposable {
  /** Replaces the interest. */
  modify(interest: Interest): void;
}

/** What an entry of poll(2) or epoll(7) asks for; the bits are the same in both. */
export interface Watched {
  readonly fd: number;
  readonly events: number;
}

interface Watcher {
  events: number;
  readonly onReady: (ready: Readiness) => void;
}

/** A descriptor's entry in epoll, shared by all who watch it: epoll has one for each. */
interface Place {
  readonly key: number;
  readonly fd: number;
  readonly watchers: Set<Watcher>;
}

/** One epoll instance; the process needs one, created by the composition root. */
export class Poller implements Disposable {
  readonly #epoll: OwnedFd;
  readonly #places = new Map<number, Place>();
  readonly #placesByFd = new Map<number, Place>();
  readonly #events = new Uint8Array(EVENT_BYTES * EVENTS_PER_WAIT);
  readonly #view = new DataView(this.#events.buffer);
  readonly #look = linger.watch(() => isReadable(this.#epoll.fd));
  /** Ready when the kernel was last asked, and not served yet. */
  readonly #ready: { readonly key: number; readonly mask: number }[] = [];
  #nextKey = 1;
  #isLent = false;
  #isDispatching = false;
  #isScheduled = false;
  #isDisposed = false;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #wakeups = 0;
  /** Called each time that descriptors are ready, before their watchers are. */
  onWakeup: (() => void) | undefined;
  #lent: { end(): void } | undefined;

  constructor() {
    this.#epoll = new OwnedFd(check("epoll_create1", pollTable().epoll_create1(EPOLL_CLOEXEC)));
  }

  /**
   * Calls `onReady` whenever `fd` is ready, until the watch is disposed. `fd` stays the caller's, and may
   * be watched by several. Throws SystemError: EPERM for a regular file.
   */
  watch(fd: number, interest: Interest, onReady: (ready: Readiness) => void): Watch {
    assert(!this.#isDisposed, "poller is in use");
    const watcher: Watcher = { events: maskOf(interest), onReady };
    const place = this.#join(fd, watcher);
    this.#lend();
    return {
      modify: (next) => {
        if (!place.watchers.has(watcher)) return;
        watcher.events = maskOf(next);
        this.#control(EPOLL_CTL_MOD, place);
      },
      [Symbol.dispose]: () => {
        if (place.watchers.delete(watcher) && !this.#isDisposed) this.#left(place);
      },
    };
  }

  /** How often descriptors have been ready so far. */
  get wakeups(): number {
    return this.#wakeups;
  }

  /** Everything watched now, for poll(2). */
  watched(): readonly Watched[] {
    return [...this.#places.values()].map((place) => ({ fd: place.fd, events: eventsOf(place) }));
  }

  /** Adds to `inventory` what is watched and nothing in it accounts for. */
  inspect(inventory: Inventory): void {
    for (const { fd } of this.#places.values()) {
      if (!inventory.knowsDescriptor(fd)) inventory.addObstacle(`descriptor ${fd} is waited for`);
    }
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    clearTimeout(this.#retryTimer);
    this.#look[Symbol.dispose]();
    this.#places.clear();
    this.#placesByFd.clear();
    this.#takeBack();
    this.#epoll[Symbol.dispose]();
  }

  #join(fd: number, watcher: Watcher): Place {
    const known = this.#placesByFd.get(fd);
    if (known !== undefined) {
      known.watchers.add(watcher);
      this.#control(EPOLL_CTL_MOD, known);
      return known;
    }
    const place: Place = { key: this.#nextKey++, fd, watchers: new Set([watcher]) };
    this.#control(EPOLL_CTL_ADD, place);
    this.#places.set(place.key, place);
    this.#placesByFd.set(fd, place);
    return place;
  }

  /** One of its watchers is gone. */
  #left(place: Place): void {
    if (place.watchers.size > 0) {
      this.#control(EPOLL_CTL_MOD, place);
      return;
    }
    this.#places.delete(place.key);
    this.#placesByFd.delete(place.fd);
    this.#control(EPOLL_CTL_DEL, place);
    if (this.#places.size === 0) this.#takeBack();
  }

  #control(operation: number, place: Place): void {
    const event = new Uint8Array(EVENT_BYTES);
    const view = new DataView(event.buffer);
    view.setUint32(0, eventsOf(place), true);
    view.setUint32(EVENT_DATA_OFFSET, place.key, true);
    check("epoll_ctl", pollTable().epoll_ctl(this.#epoll.fd, operation, place.fd, ptr(event)));
  }

  /** Lends a duplicate to the event loop, unless readiness is checked without it, or nothing is watched. */
  #lend(): void {
    const isServed = this.#isLent || this.#isDispatching || this.#isScheduled;
    if (isServed || this.#isDisposed || this.#places.size === 0) return;
    const duplicate = this.#duplicate();
    if (duplicate === undefined) return;
    this.#isLent = true;
    const socket = {
      open: (lent: { end(): void }) => {
        this.#lent = lent;
      },
      data: () => {},
      error: () => {},
      close: () => {
        this.#lent = undefined;
        this.#isLent = false;
        this.#dispatch();
      },
    };
    // The promise settles with the adoption itself; readiness arrives through `close`.
    Bun.connect({ fd: duplicate, socket } as unknown as Parameters<typeof Bun.connect>[0]).catch(
      () => {
        // The kernel has refused one more watch (ENOSPC, ENOMEM), and the engine has forgotten the duplicate.
        if (isEpoll(duplicate)) new OwnedFd(duplicate)[Symbol.dispose]();
        this.#lent = undefined;
        this.#isLent = false;
        this.#lookLater();
      },
    );
  }

  /** Undefined if no descriptor is left; it is retried, as nothing else would wake the poller. */
  #duplicate(): number | undefined {
    try {
      return duplicateFd(this.#epoll.fd).release();
    } catch (error) {
      // EINVAL means that the lowest number asked for is above the limit.
      if (!hasCode(error, "EMFILE", "EINVAL", "ENOMEM")) throw error;
      this.#lookLater();
      return undefined;
    }
  }

  /** Nothing tells when something is ready, until a duplicate can be lent again. */
  #lookLater(): void {
    if (this.#isDisposed) return;
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = undefined;
      this.#dispatch();
    }, EXHAUSTED_RETRY_MS);
  }

  #takeBack(): void {
    this.#lent?.end();
  }

  /** Serves what is ready for one turn, then sees to it that what comes next is served. */
  #dispatch(): void {
    if (this.#isDisposed) return;
    this.#isDispatching = true;
    let isDry = false;
    try {
      const deadlineMs = performance.now() + TURN_MS;
      do {
        isDry = !this.#collect();
        if (!isDry) this.#serveNext();
      } while (!isDry && performance.now() < deadlineMs);
    } finally {
      this.#isDispatching = false;
      if (!isDry || linger.stayAwake()) this.#dispatchNextTurn();
      else this.#lend();
    }
  }

  #dispatchNextTurn(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#dispatch();
    });
  }

  /** Asks the kernel what is ready, once everything that was has been served; false when nothing is. */
  #collect(): boolean {
    if (this.#isDisposed) return false;
    if (this.#ready.length > 0) return true;
    const count = check(
      "epoll_wait",
      pollTable().epoll_wait(this.#epoll.fd, ptr(this.#events), EVENTS_PER_WAIT, 0),
    );
    if (count === 0) return false;
    linger.noteEvent();
    this.#wakeups += count;
    for (let index = 0; index < count; index++) {
      const offset = index * EVENT_BYTES;
      this.#ready.push({
        mask: this.#view.getUint32(offset, true),
        key: this.#view.getUint32(offset + EVENT_DATA_OFFSET, true),
      });
    }
    this.onWakeup?.();
    return true;
  }

  #serveNext(): void {
    const next = this.#ready.shift();
    if (next === undefined) return;
    // A watch that a handler disposed before is gone: its event is stale.
    for (const watcher of [...(this.#places.get(next.key)?.watchers ?? [])]) {
      const mask = next.mask & (watcher.events | EPOLLHUP | EPOLLERR);
      if (mask === 0 || !this.#places.get(next.key)?.watchers.has(watcher)) continue;
      watcher.onReady({
        readable: (mask & EPOLLIN) !== 0,
        writable: (mask & EPOLLOUT) !== 0,
        hangup: (mask & EPOLLHUP) !== 0,
        error: (mask & EPOLLERR) !== 0,
      });
    }
    if (this.#ready.length === 0) linger.noteServed();
  }
}

function eventsOf({ watchers }: Place): number {
  let events = 0;
  for (const watcher of watchers) events |= watcher.events;
  return events;
}

function maskOf(interest: Interest): number {
  return (interest.readable ? EPOLLIN : 0) | (interest.writable ? EPOLLOUT : 0);
}
