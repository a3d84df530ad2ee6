/** The stdio of one process as it is held, and as plain data; `stdio.ts` opens it. */

import type { Inventory } from "../base/inventory.ts";
import type { Logger } from "../base/log.ts";
import { flag, list, maybe, record, type Shaped, whole, word } from "../base/shape.ts";
import type { Children } from "../linux/children.ts";
import type { OwnedFd } from "../linux/fd.ts";
import type { Poller } from "../linux/poller.ts";
import type { ConsoleSocket } from "./console-socket.ts";
import { HandedOutput } from "./handed-output.ts";
import { type InputPart, RelayedInput } from "./input.ts";
import { LogFile, logFileState } from "./log-file.ts";
import { type LoggerLimits, LoggerPart } from "./logger.ts";
import type { NamedFd } from "./named-fd.ts";
import type { Part } from "./part.ts";
import { type PartState, partState } from "./part-state.ts";
import { RelayedOutput } from "./relayed-output.ts";
import type { RestoreContext } from "./sink.ts";
import { Terminal } from "./terminal.ts";

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

export interface StdioContext {
  readonly poller: Poller;
  readonly children: Children;
  readonly log: Logger;
  /** $XDG_RUNTIME_DIR, for the console socket; /tmp otherwise. */
  readonly runtimeDir?: string | undefined;
  /** Limits to use instead of the usual ones, for tests. */
  readonly loggerLimits?: LoggerLimits;
  readonly consoleLimitMs?: number;
}

/** Stdin, stdout and stderr of a process; undefined is /dev/null. */
export type ChildFds = readonly [number | undefined, number | undefined, number | undefined];

/** The stdio of one process. Whoever opened it closes it. */
export interface ProcessStdio {
  /** Lent to the runtime process as its 0, 1, 2, until {@link attach}. */
  readonly childFds: ChildFds;
  /** The path for --console-socket, when the process has a terminal. */
  readonly consoleSocket: string | undefined;
  /**
   * The runtime has created the process: closes our copies of the child's ends and starts relaying.
   * Throws ShimError when the terminal does not come (deadlineExceeded) or is not one.
   */
  attach(): Promise<void>;
  /** CloseIO: the process's input ends when the client has closed its end too. */
  closeStdin(): void;
  /** Sets the terminal's size, now or when it comes; does nothing without a terminal. */
  resize(columns: number, rows: number): void;
  /** The process has exited: lets go, so that the client gets end of file when the last writer is gone. */
  processExited(): void;
  /** Resolves when nothing remains to be copied and nothing of ours keeps the client from end of file. Never rejects. */
  readonly drained: Promise<void>;
  /**
   * Whether output is in a FIFO, or on its way there, that its reader has not read; after the exit, which
   * {@link processExited} reports. Costs a few system calls.
   */
  readonly isBeingRead: boolean;
  /** Drops everything at once, and waits for a logger to exit (14 s at most). Idempotent; may reject, in the end. */
  close(): Promise<void>;
  /** Bytes of output that could not be written and are lost. */
  readonly lostBytes: number;
  /** Every descriptor held, by name. */
  descriptors(): readonly NamedFd[];
  /** Which of its streams, 1 or 2, are the client's own files, each with a lent descriptor of the file. */
  handedStreams(): readonly { readonly place: 1 | 2; readonly fd: number }[];
  /** For {@link restoreStdio}; undefined when it is closed. Not to be told before {@link attach}. */
  snapshot(inventory: Inventory): StdioState | undefined;
}

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

/** A part that continues a handed-over one, and what else it can be asked for. */
interface RestoredPart {
  readonly part: Part;
  readonly input?: { closeStdin(): void };
  readonly terminal?: Terminal;
}

/** Moves no byte within this call. Throws SystemError for a descriptor that is not open. */
function restorePart(
  state: PartState,
  context: RestoreContext & { readonly children: Children },
): RestoredPart {
  switch (state.kind) {
    case "handedOutput":
      return { part: HandedOutput.restore(state, context) };
    case "relayedOutput":
      return { part: RelayedOutput.restore(state, context) };
    case "relayedInput": {
      const input = RelayedInput.restore(state, context);
      return { part: input, input };
    }
    case "terminal": {
      const terminal = Terminal.restore(state, context);
      return { part: terminal, input: terminal, terminal };
    }
    case "logger":
      return { part: LoggerPart.restore(state, context) };
  }
}
