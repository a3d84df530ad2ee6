/** The terminal that the command was called from, while a container has it. */

import { hasCode } from "../../linux/errno.ts";
import {
  rawModes,
  setTerminalModes,
  type Termios,
  terminalModes,
  type WindowSize,
  windowSize,
} from "../../linux/pty.ts";

const STDIN = 0;

/** Its modes are restored on disposal, and at the latest when the process exits. */
export class OwnTerminal implements Disposable {
  readonly #modes: Termios;
  readonly #onExit = () => this.restore();
  #isRaw = false;

  private constructor(modes: Termios) {
    this.#modes = modes;
    process.on("exit", this.#onExit);
  }

  /** Undefined when stdin is not a terminal. */
  static open(): OwnTerminal | undefined {
    try {
      return new OwnTerminal(terminalModes(STDIN));
    } catch (error) {
      if (hasCode(error, "ENOTTY", "EIO", "EBADF", "EINVAL", "ENODEV")) return undefined;
      throw error;
    }
  }

  /** Undefined for a terminal that does not report one, such as a serial line. */
  get size(): WindowSize | undefined {
    const size = windowSize(STDIN);
    return size.columns > 0 && size.rows > 0 ? size : undefined;
  }

  /** From here on every key goes to the container as it is, Ctrl-C too. */
  makeRaw(): void {
    setTerminalModes(STDIN, rawModes(this.#modes));
    this.#isRaw = true;
  }

  restore(): void {
    if (!this.#isRaw) return;
    this.#isRaw = false;
    try {
      setTerminalModes(STDIN, this.#modes);
    } catch {
      // It has hung up: there is nothing to restore.
    }
  }

  [Symbol.dispose](): void {
    this.restore();
    process.off("exit", this.#onExit);
  }
}
