/** Where a verb prints: which kind of stream it is; writes all of every text, however slow its reader. */

import { isatty } from "node:tty";
import type { Variables } from "../../base/variables.ts";
import { windowSize } from "../../linux/pty.ts";
import { withSpinner } from "./spinner.ts";
import { type Style, styleFor } from "./style.ts";
import { writeAll } from "./write-all.ts";

const STDOUT = 1;
const STDERR = 2;

/** What a verb prints to. Throws EPIPE when nobody reads any more; `shim.ts` ends quietly then. */
export class Output {
  readonly isTerminal: boolean;
  readonly style: Style;
  /** For what goes to stderr. */
  readonly errorStyle: Style;

  readonly #hasErrorTerminal: boolean;

  constructor(variables: Variables) {
    this.isTerminal = isatty(STDOUT);
    this.style = styleFor(this.isTerminal, variables);
    this.#hasErrorTerminal = isatty(STDERR) && variables["TERM"] !== "dumb";
    this.errorStyle = styleFor(this.#hasErrorTerminal, variables);
  }

  /** The terminal's present width; undefined on a pipe, where nothing is truncated. */
  get width(): number | undefined {
    return this.isTerminal ? windowSize(STDOUT).columns : undefined;
  }

  get height(): number | undefined {
    return this.isTerminal ? windowSize(STDOUT).rows : undefined;
  }

  /** Waits for `work`; a terminal shows `what` and the time once that takes longer than a second. */
  async during<Result>(what: string, work: Promise<Result>): Promise<Result> {
    const write = (text: string) => writeAll(STDERR, Buffer.from(text));
    const screen = this.#hasErrorTerminal ? { write, style: this.errorStyle } : undefined;
    return await withSpinner(screen, what, work);
  }

  /** `text` as it is: it brings its own newlines. */
  print(text: string): void {
    writeAll(STDOUT, Buffer.from(text));
  }

  /** A document for programs: the same on a terminal and on a pipe. */
  printJson(value: unknown): void {
    this.print(`${toJson(value)}\n`);
  }

  /** A line for people, beside the output proper. */
  warn(message: string): void {
    writeAll(STDERR, Buffer.from(`${this.errorStyle.warning(`shim: ${message}`)}\n`));
  }

  /** One line: why the command failed. */
  fail(message: string): void {
    const line = `shim: ${message.trim().replaceAll("\n", " ")}`;
    writeAll(STDERR, Buffer.from(`${this.errorStyle.bad(line)}\n`));
  }
}

/** Indented JSON; integers of 64 bits are numbers, as far as a reader in JavaScript keeps them exact. */
export function toJson(value: unknown): string {
  return JSON.stringify(
    value,
    (_key, member: unknown) => {
      if (typeof member !== "bigint") return member;
      const number = Number(member);
      return Number.isSafeInteger(number) ? number : String(member);
    },
    2,
  );
}
