/** The stdio of one process as it is held, and as plain data; `stdio.ts` opens it. */

import type { Inventory } from "../base/inventory.ts";
import { flag, list, maybe, record, type Shaped, whole, word } from "../base/shape.ts";
import type { OwnedFd } from "../linux/fd.ts";
import type { ConsoleSocket } from "./console-socket.ts";
import type { InputPart } from "./input.ts";
import { LogFile, logFileState } from "./log-file.ts";
import type { NamedFd, Part } from "./part.ts";
import { partState, restorePart } from "./part-state.ts";
import type { ChildFds, ProcessStdio, StdioContext } from "./stdio.ts";
import type { Terminal } from "./terminal.ts";

/** The stdio of a running or ended process. */
export const stdioState = record({
  parts: list(partState),
  /** The file that its streams write records into. */
  file: maybe(logFileState),
  /** Which parts, by number, are the client's own files, and in place of which stream: 1 or 2. */
  handed: list(record({ place: word(1, 2), part: whole })),
  hasExited: flag,
});
export type StdioState = Shaped<typeof stdioState>;

/** Stdio that continues where another left off; moves no byte within this call. */
export function restoreStdio(state: StdioState, context: StdioContext): ProcessStdio {
  return OpenedStdio.restore(state, context);
}

interface TerminalParts {
  readonly terminal: Terminal;
  /** Until it has delivered the master. */
  readonly socket: ConsoleSocket | undefined;
  readonly limitMs: number;
}

/** The parts of one process's stdio, put together. */
export class OpenedStdio implements ProcessStdio {
  readonly #parts: Part[] = [];
  readonly #ends: [OwnedFd | undefined, OwnedFd | undefined, OwnedFd | undefined] = [
    undefined,
    undefined,
    undefined,
  ];
  readonly #handed = new Map<1 | 2, Part>();
  #input: { closeStdin(): void } | undefined;
  #terminal: TerminalParts | undefined;
  #file: LogFile | undefined;
  #isAttached = false;
  #hasExited = false;
  #isClosed = false;

  static restore(state: StdioState, context: StdioContext): OpenedStdio {
    const stdio = new OpenedStdio();
    stdio.#isAttached = true;
    stdio.#hasExited = state.hasExited;
    const file = state.file && LogFile.restore(state.file, context.log);
    if (file !== undefined) stdio.addFile(file);
    for (const each of state.parts) {
      const { part, input, terminal } = restorePart(each, { ...context, file });
      stdio.add(part);
      stdio.#input ??= input;
      if (terminal !== undefined) stdio.#terminal = { terminal, socket: undefined, limitMs: 0 };
    }
    for (const { place, part } of state.handed) {
      const handed = stdio.#parts[part];
      if (handed !== undefined) stdio.setHanded(place, handed);
    }
    return stdio;
  }

  snapshot(inventory: Inventory): StdioState | undefined {
    if (this.#isClosed) return undefined;
    if (!this.#isAttached) inventory.addObstacle("streams are being opened");
    const parts = this.#parts.flatMap((part) => part.snapshot(inventory) ?? []);
    const handed = [...this.#handed].map(([place, part]) => ({
      place,
      part: this.#parts.indexOf(part),
    }));
    const file = this.#file?.snapshot(inventory);
    return { parts, handed, file, hasExited: this.#hasExited };
  }

  add(part: Part): void {
    this.#parts.push(part);
  }

  addInput(part: InputPart): void {
    this.#input = part;
    this.add(part);
  }

  addTerminal(terminal: Terminal, socket: ConsoleSocket, limitMs: number): void {
    this.#terminal = { terminal, socket, limitMs };
    this.#input = terminal;
    this.add(terminal);
  }

  /** Takes over `end`. One end may have two places. */
  setEnd(place: 0 | 1 | 2, end: OwnedFd): void {
    this.#ends[place] = end;
  }

  /** Records that the stream at `place` is the client's own file. */
  setHanded(place: 1 | 2, part: Part): void {
    this.#handed.set(place, part);
  }

  /** Takes over `file`, which the streams of this process write to. */
  addFile(file: LogFile): void {
    this.#file = file;
  }

  get childFds(): ChildFds {
    const [stdin, stdout, stderr] = this.#ends;
    return [lent(stdin), lent(stdout), lent(stderr)];
  }

  get consoleSocket(): string | undefined {
    return this.#terminal?.socket?.path;
  }

  get drained(): Promise<void> {
    return Promise.all(this.#parts.map((part) => part.drained)).then(() => {});
  }

  get isBeingRead(): boolean {
    return this.#parts.some((part) => part.isBeingRead === true);
  }

  async attach(): Promise<void> {
    this.#closeEnds();
    if (this.#terminal !== undefined) {
      const { terminal, socket, limitMs } = this.#terminal;
      const master = await socket?.receiveMaster(limitMs);
      if (this.#isClosed) {
        master?.[Symbol.dispose]();
        return;
      }
      if (master !== undefined) terminal.adopt(master);
    }
    this.#isAttached = true;
    for (const part of this.#parts) part.attach();
    // It may have died while the terminal was on its way.
    if (this.#hasExited) this.#tellExited();
  }

  closeStdin(): void {
    this.#input?.closeStdin();
  }

  resize(columns: number, rows: number): void {
    this.#terminal?.terminal.resize({ columns, rows });
  }

  processExited(): void {
    this.#hasExited = true;
    if (!this.#isAttached) return; // attach() catches up
    this.#tellExited();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#closeEnds();
    this.#terminal?.socket?.[Symbol.dispose]();
    const closed = await Promise.allSettled(this.#parts.map((part) => part.close()));
    this.#file?.[Symbol.dispose]();
    for (const outcome of closed) if (outcome.status === "rejected") throw outcome.reason;
  }

  /** For every part, whatever any of them throws: the first failure is thrown in the end. */
  #tellExited(): void {
    const failures: unknown[] = [];
    for (const part of this.#parts) {
      try {
        part.processExited();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  get lostBytes(): number {
    return this.#parts.reduce((sum, { lostBytes = 0 }) => sum + lostBytes, 0);
  }

  descriptors(): readonly NamedFd[] {
    const names = ["child-stdin", "child-stdout", "child-stderr"];
    const ends = this.#ends.flatMap((end, place) =>
      end?.isOpen ? [{ name: names[place] ?? "", fd: end.fd }] : [],
    );
    const socket = this.#terminal?.socket?.descriptors() ?? [];
    const parts = this.#parts.flatMap((part) => part.descriptors());
    return [...ends, ...socket, ...parts, ...(this.#file?.descriptors() ?? [])];
  }

  handedStreams(): readonly { readonly place: 1 | 2; readonly fd: number }[] {
    return [...this.#handed].flatMap(([place, part]) =>
      part.descriptors().map(({ fd }) => ({ place, fd })),
    );
  }

  #closeEnds(): void {
    for (const end of this.#ends) end?.[Symbol.dispose]();
  }
}

function lent(end: OwnedFd | undefined): number | undefined {
  return end?.isOpen ? end.fd : undefined;
}
