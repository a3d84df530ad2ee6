/** Waiting for one descriptor to become readable or writable, on and off, without spinning on a hang-up. */

import { hasCode } from "../linux/errno.ts";
import type { Poller, Watch } from "../linux/poller.ts";

export interface GateOptions {
  readonly poller: Poller;
  readonly fd: number;
  readonly direction: "readable" | "writable";
  /** The descriptor is ready, while the gate is open. */
  readonly onReady: () => void;
}

/**
 * One watch that is open (its owner waits) or shut (its owner is busy elsewhere).
 *
 * The kernel reports hang-ups whether asked or not, again and again; a descriptor that hangs up while
 * its gate is shut is dropped from the poller, and watched again when the gate opens.
 */
export class Gate implements Disposable {
  readonly #options: GateOptions;
  #watch: Watch | undefined;
  #isOpen = false;
  #immediate: ReturnType<typeof setImmediate> | undefined;
  #isDisposed = false;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /** Calls `onReady` when the descriptor is ready, until shut. A regular file is ready in the next turn. */
  open(): void {
    if (this.#isDisposed) return;
    const wasOpen = this.#isOpen;
    this.#isOpen = true;
    if (this.#watch === undefined) this.#start();
    else if (!wasOpen) this.#watch.modify(this.#interest());
  }

  /** Calls `onReady` in the next turn too, ready or not, if it is open then. */
  callNextTurn(): void {
    this.#immediate ??= setImmediate(() => this.#toldImmediately());
  }

  /** Stops waiting, but keeps the place in the poller. */
  shut(): void {
    this.#cancelImmediate();
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#watch?.modify({});
  }

  /** Whether `onReady` is due in the next turn of the event loop, as for a descriptor that is always ready. */
  get isRunning(): boolean {
    return this.#immediate !== undefined;
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#isOpen = false;
    this.#cancelImmediate();
    this.#drop();
  }

  #start(): void {
    const { poller, fd } = this.#options;
    try {
      this.#watch = poller.watch(fd, this.#interest(), () => this.#told());
    } catch (error) {
      if (!hasCode(error, "EPERM")) throw error;
      // epoll(7) refuses descriptors that are always ready.
      if (this.#isOpen) this.callNextTurn();
    }
  }

  #told(): void {
    if (this.#isOpen) this.#options.onReady();
    else this.#drop();
  }

  #toldImmediately(): void {
    this.#immediate = undefined;
    if (this.#isOpen) this.#options.onReady();
  }

  #interest(): { readonly readable?: boolean; readonly writable?: boolean } {
    if (!this.#isOpen) return {};
    return this.#options.direction === "readable" ? { readable: true } : { writable: true };
  }

  #cancelImmediate(): void {
    if (this.#immediate !== undefined) clearImmediate(this.#immediate);
    this.#immediate = undefined;
  }

  #drop(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }
}
