/**
 * A time of day that can be set without setting the machine's: for processes that have a small library
 * preloaded (`clock.c`), and whatever they execute. It is seen by programs that ask libc for the time, as a
 * shim's engine does. Go programs, containerd and runc among them, ask the kernel: to them, a shim's clock is off.
 */

import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class MovableClock implements Disposable {
  /** Environment variables for processes that are to see it. */
  readonly variables: Readonly<Record<string, string>>;
  readonly #directory: string;
  readonly #file: number;
  #aheadSeconds = 0;

  private constructor(directory: string, library: string, file: number) {
    this.#directory = directory;
    this.#file = file;
    this.variables = { LD_PRELOAD: library };
  }

  /** A clock that is right. Throws Error with the C compiler's output. */
  static open(): MovableClock {
    const directory = mkdtempSync(join(tmpdir(), "wedge-clock-"));
    try {
      const library = join(directory, "clock.so");
      const offset = join(directory, "offset");
      const file = openSync(offset, "w+");
      const clock = new MovableClock(directory, library, file);
      clock.moveTo(0);
      compile(library, offset);
      return clock;
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** How far it is ahead of the machine's. */
  get aheadSeconds(): number {
    return this.#aheadSeconds;
  }

  /** Sets it this far ahead; negative: behind. */
  moveTo(aheadSeconds: number): void {
    this.#aheadSeconds = aheadSeconds;
    // In one piece: it is mapped by whoever looks at the time at this moment.
    const bytes = new Uint8Array(new BigInt64Array([BigInt(aheadSeconds)]).buffer);
    writeSync(this.#file, bytes, 0, bytes.length, 0);
  }

  /** Processes that already have the library loaded keep the last offset. */
  [Symbol.dispose](): void {
    closeSync(this.#file);
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function compile(library: string, offset: string): void {
  const source = join(import.meta.dirname, "clock.c");
  const options = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"];
  const { exitCode, stderr } = Bun.spawnSync([
    ...["cc", ...options, `-DOFFSET_FILE=${JSON.stringify(offset)}`, "-o", library, source],
  ]);
  if (exitCode !== 0) throw new Error(`Cannot build the movable clock:\n${stderr}`);
}
