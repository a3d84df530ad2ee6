/** A log file read from its beginning and followed across rotations. */

import { closeSync, existsSync, fstatSync, openSync, readSync, statSync } from "node:fs";

const READ_BYTES = 65_536;
const LINE_FEED = 10;

/** Reads whole lines. Disposing closes the file. */
export class LogReader implements Disposable {
  readonly #path: string;
  #fd: number;
  #offset = 0;
  #rest: Buffer = Buffer.alloc(0);

  /** Throws what node:fs throws for a file that cannot be read. */
  constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(path, "r");
  }

  /** The lines that have come since the last call, without their newlines. */
  *lines(): Generator<string> {
    for (;;) {
      yield* this.#readLines();
      if (!this.#isPutAside()) return;
      // What was written to it between the last read and the rotation is still to be read.
      yield* this.#readLines();
      const next = openSync(this.#path, "r");
      closeSync(this.#fd);
      this.#fd = next;
      this.#offset = 0;
    }
  }

  /** An unfinished last line; "" when there is none. */
  get rest(): string {
    return this.#rest.toString();
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  *#readLines(): Generator<string> {
    const buffer = Buffer.alloc(READ_BYTES);
    for (;;) {
      // Truncated in place, by somebody else's rotation: start again from its beginning.
      if (fstatSync(this.#fd).size < this.#offset) this.#offset = 0;
      const count = readSync(this.#fd, buffer, 0, READ_BYTES, this.#offset);
      if (count === 0) return;
      this.#offset += count;
      this.#rest = Buffer.concat([this.#rest, buffer.subarray(0, count)]);
      for (let end = this.#rest.indexOf(LINE_FEED); end >= 0; end = this.#rest.indexOf(LINE_FEED)) {
        yield this.#rest.toString("utf8", 0, end);
        this.#rest = this.#rest.subarray(end + 1);
      }
    }
  }

  #isPutAside(): boolean {
    const current = statSync(this.#path, { throwIfNoEntry: false });
    if (current === undefined) return false; // In the middle of a rotation, or removed for good.
    const own = fstatSync(this.#fd);
    return current.ino !== own.ino || current.dev !== own.dev;
  }
}

/** The rotated files, oldest first: `log.2`, `log.1`. */
export function asideFiles(path: string): readonly string[] {
  const found: string[] = [];
  for (let index = 1; existsSync(`${path}.${index}`); index++) found.unshift(`${path}.${index}`);
  return found;
}
