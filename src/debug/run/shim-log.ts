/**
 * What a shim logs, as containerd would read it: a FIFO named `log` in the bundle, created before the
 * shim starts. Passed on to stderr, or its last lines kept in case the shim fails.
 */

import { rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { hasCode } from "../../linux/errno.ts";
import { O_NONBLOCK, O_RDWR, type OwnedFd, openFd, readFd } from "../../linux/fd.ts";
import { makeFifo } from "../../linux/fifo.ts";
import type { Poller, Watch } from "../../linux/poller.ts";

const MODE = 0o600;
const READ_BYTES = 65536;
const TAIL_BYTES_MAX = 16384;

/** Disposing removes the FIFO. */
export class ShimLog implements Disposable {
  readonly #path: string;
  readonly #fifo: OwnedFd;
  readonly #watch: Watch;
  readonly #isShown: boolean;
  readonly #buffer = Buffer.allocUnsafe(READ_BYTES);
  #tail = "";

  private constructor(path: string, fifo: OwnedFd, poller: Poller, isShown: boolean) {
    this.#path = path;
    this.#fifo = fifo;
    this.#isShown = isShown;
    this.#watch = poller.watch(fifo.fd, { readable: true }, () => this.#read());
  }

  /** Undefined if something of that name exists already, or cannot be created: a log is optional. */
  static open(bundle: string, poller: Poller, isShown: boolean): ShimLog | undefined {
    const path = join(bundle, "log");
    try {
      makeFifo(path, MODE);
    } catch (error) {
      if (hasCode(error, "EEXIST", "EROFS", "EACCES", "EPERM")) return undefined;
      throw error;
    }
    // For both, so that it neither waits for a writer nor ends when there is none.
    return new ShimLog(path, openFd(path, O_RDWR | O_NONBLOCK), poller, isShown);
  }

  /** The last lines. */
  get tail(): string {
    this.#read();
    return this.#tail;
  }

  [Symbol.dispose](): void {
    if (!this.#fifo.isOpen) return;
    this.#read();
    this.#watch[Symbol.dispose]();
    this.#fifo[Symbol.dispose]();
    rmSync(this.#path, { force: true });
  }

  #read(): void {
    for (;;) {
      const count = readFd(this.#fifo.fd, this.#buffer);
      if (count === "again" || count === 0) return;
      const bytes = this.#buffer.subarray(0, count);
      if (this.#isShown) writeSync(2, bytes);
      this.#tail = (this.#tail + bytes.toString()).slice(-TAIL_BYTES_MAX);
    }
  }
}
