/** Keeps an output FIFO usable for as long as its writers and its late readers need it. */

import { messageOf } from "../base/error.ts";
import type { Inventory } from "../base/inventory.ts";
import type { Logger } from "../base/log.ts";
import { flag, maybe, record, type Shaped, whole, word } from "../base/shape.ts";
import { OwnedFd, readableBytes } from "../linux/fd.ts";
import { hasReader, reopenForReading, reopenForWriting } from "../linux/pipe.ts";
import type { Poller, Watch } from "../linux/poller.ts";
import { settle } from "./settle.ts";

/**
 * How long unread bytes without a reader are kept at the end: a manager that comes back may ask for the
 * end before its reader, which it has started first, has opened the FIFO.
 */
export const READER_LIMIT_MS = 500;
const READER_LOOK_MS = 10;

/** What a holder holds, and how far it has got. */
export const fifoHolderState = record({
  kind: word("written", "settling", "released"),
  end: maybe(whole),
  /** Written: whether we wait for the last writer. */
  isWatching: flag,
  /** Settling: whether the held end is a writing one, and whether another look is due. */
  isWriter: flag,
  isLooking: flag,
  hasExited: flag,
  looks: whole,
});
export type FifoHolderState = Shaped<typeof fifoHolderState>;

/**
 * Holds one end of a FIFO that others write to.
 *
 * While writers exist it is a reading end that is never read: a writer gets no SIGPIPE when its reader
 * restarts, and the reader gets end of file from the kernel once the last writer is gone. What happens
 * after that is decided in `settle.ts`.
 */
export class FifoHolder implements Disposable {
  readonly #poller: Poller;
  readonly #log: Logger;
  #state:
    | { readonly kind: "written"; readonly end: OwnedFd; readonly watch: Watch | undefined }
    | { readonly kind: "settling"; readonly end: OwnedFd; readonly isWriter: boolean }
    | { readonly kind: "released" };
  readonly #writersGone = Promise.withResolvers<void>();
  #hasExited = false;
  #looks = 0;
  #timer: { clear(): void } | undefined;

  /** Takes over `reader`, a non-blocking reading end. */
  constructor(reader: OwnedFd, poller: Poller, log: Logger) {
    this.#poller = poller;
    this.#log = log;
    this.#state = { kind: "written", end: reader, watch: undefined };
  }

  /** A holder that continues where another left off. */
  static restore(state: FifoHolderState, poller: Poller, log: Logger): FifoHolder {
    const end = OwnedFd.restore(state.end);
    const holder = new FifoHolder(end, poller, log);
    holder.#hasExited = state.hasExited;
    holder.#looks = state.looks;
    if (state.kind === "written") {
      if (state.isWatching) holder.watchWriters();
      return holder;
    }
    holder.#writersGone.resolve();
    if (state.kind === "released") {
      holder.#state = { kind: "released" };
      return holder;
    }
    holder.#state = { kind: "settling", end, isWriter: state.isWriter };
    if (state.isLooking) holder.#timer = later(0, () => holder.#look());
    return holder;
  }

  /** For {@link restore}. `name` is its stream's. */
  snapshot(name: string, inventory: Inventory): FifoHolderState {
    const state = this.#state;
    if (this.#timer !== undefined) inventory.addErrand(`${name} has to be looked at`);
    return {
      kind: state.kind,
      end: inventory.keep(`${name}-holder`, this.end),
      isWatching: state.kind === "written" && state.watch !== undefined,
      isWriter: state.kind === "settling" && state.isWriter,
      isLooking: this.#timer !== undefined,
      hasExited: this.#hasExited,
      looks: this.#looks,
    };
  }

  /** The end that is held; undefined when the FIFO has been let go. */
  get end(): OwnedFd | undefined {
    return this.#state.kind === "released" ? undefined : this.#state.end;
  }

  /**
   * Whether bytes are in the FIFO, and it may have a reader. That it has none is found out by looks, once the
   * last writer has gone: a writing end is held then.
   */
  get isBeingRead(): boolean {
    if (this.#state.kind === "released") return false;
    if (this.#state.kind === "settling" && this.#state.isWriter) return false;
    return readableBytes(this.#state.end.fd) > 0;
  }

  /** Resolves when the last writer has gone, or the FIFO has been let go. */
  get writersGone(): Promise<void> {
    return this.#writersGone.promise;
  }

  /**
   * Resolves when the last writer has gone and nothing is unread, or somebody is there to read it, or
   * nobody comes.
   */
  async untilTaken(): Promise<void> {
    await this.#writersGone.promise;
    const deadline = performance.now() + READER_LIMIT_MS;
    while (this.#state.kind === "settling" && performance.now() < deadline) {
      if (readableBytes(this.#state.end.fd) === 0) return;
      this.#look();
      if (this.#isRead()) return;
      await Bun.sleep(READER_LOOK_MS);
    }
  }

  /** Once a look has found a reader, no writing end is held any more. */
  #isRead(): boolean {
    return this.#state.kind === "settling" && !this.#state.isWriter;
  }

  /** Begins to watch for the last writer to go. Call once, when there is one. */
  watchWriters(): void {
    if (this.#state.kind !== "written" || this.#state.watch !== undefined) return;
    const { end } = this.#state;
    const watch = this.#poller.watch(end.fd, {}, () => {
      watch[Symbol.dispose]();
      this.#state = { kind: "settling", end, isWriter: false };
      this.#writersGone.resolve();
      this.#look();
    });
    this.#state = { kind: "written", end, watch };
  }

  /** The process has exited: from now on a late reader is due an end of file. */
  processExited(): void {
    if (this.#hasExited) return;
    this.#hasExited = true;
    if (this.#state.kind === "settling") this.#look();
  }

  /** Lets go at once. */
  [Symbol.dispose](): void {
    this.#timer?.clear();
    this.#timer = undefined;
    this.#writersGone.resolve();
    if (this.#state.kind === "released") return;
    if (this.#state.kind === "written") this.#state.watch?.[Symbol.dispose]();
    this.#state.end[Symbol.dispose]();
    this.#state = { kind: "released" };
  }

  #look(): void {
    this.#timer?.clear();
    this.#timer = undefined;
    if (this.#state.kind !== "settling") return;
    const holding = settle({
      unread: readableBytes(this.#state.end.fd),
      hasReader: () => this.#probe(),
      hasExited: this.#hasExited,
      looks: this.#looks++,
    });
    switch (holding.kind) {
      case "nothing":
        this[Symbol.dispose]();
        return;
      case "reader":
        this.#become({ isWriter: false });
        break;
      case "writer":
        this.#become({ isWriter: true });
        break;
    }
    if (this.end !== undefined && holding.nextMs !== undefined)
      this.#timer = later(holding.nextMs, () => this.#look());
  }

  /** Whether a reader other than ourselves exists: seen from a writing end, with our reading end closed. */
  #probe(): boolean {
    this.#become({ isWriter: true });
    if (this.#state.kind !== "settling" || !this.#state.isWriter) return true;
    return hasReader(this.#state.end.fd);
  }

  /** Replaces the end that is held, opening the new one first, so that the FIFO keeps its bytes. */
  #become({ isWriter }: { readonly isWriter: boolean }): void {
    if (this.#state.kind !== "settling" || this.#state.isWriter === isWriter) return;
    const { end } = this.#state;
    try {
      const other = isWriter ? reopenForWriting(end.fd) : reopenForReading(end.fd);
      this.#state = { kind: "settling", end: other, isWriter };
    } catch (error) {
      this.#log.warn("Cannot reopen an output FIFO", { error: messageOf(error) });
      // No descriptor to spare: a reading end disturbs nobody and stays; a writing end would keep a
      // reader that has come from its end of file, and is closed.
      if (isWriter) return;
      this.#state = { kind: "released" };
    }
    end[Symbol.dispose]();
  }
}

function later(delayMs: number, run: () => void): { clear(): void } {
  if (delayMs === 0) {
    const immediate = setImmediate(run);
    return { clear: () => clearImmediate(immediate) };
  }
  const timer = setTimeout(run, delayMs);
  return { clear: () => clearTimeout(timer) };
}
