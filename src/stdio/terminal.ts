/** The stdio of a process with a terminal: its pty master, relayed to the client's FIFOs or to a logger. */

import { messageOf } from "../base/error.ts";
import type { Inventory } from "../base/inventory.ts";
import type { Logger } from "../base/log.ts";
import { record, type Shaped } from "../base/shape.ts";
import { hasCode } from "../linux/errno.ts";
import { OwnedFd, setNonBlocking } from "../linux/fd.ts";
import type { Poller } from "../linux/poller.ts";
import {
  awaitRefill,
  endOfInputCharacter,
  openSlave,
  setWindowSize,
  terminalModes,
  type WindowSize,
} from "../linux/pty.ts";
import { InputSource } from "./input.ts";
import { type NamedFd, openOnes } from "./named-fd.ts";
import type { Part } from "./part.ts";
import { terminalFields } from "./part-state.ts";
import { describeEnd, Relay, type RelayEnd } from "./relay.ts";
import { type RestoreContext, Sink } from "./sink.ts";

const terminalState = record(terminalFields);

/** Intervals between looks for a new slave after a hang-up, doubling up to the longest. */
const FIRST_RETRY_MS = 1;
const LONGEST_RETRY_MS = 200;
const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;

/**
 * Relays a terminal.
 *
 * A slave of our own stays open while the process lives: otherwise the master would fail with EIO as soon
 * as a process closes its terminal, though it may open it again. If a hang-up takes it from us (vhangup(2),
 * as a getty does), it is opened again. It is closed at the exit.
 */
export class Terminal implements Part {
  readonly #poller: Poller;
  readonly #log: Logger;
  readonly #input: InputSource | undefined;
  readonly #sink: Sink;
  readonly #ended = Promise.withResolvers<void>();
  #master: OwnedFd | undefined;
  /** What a program before format 3 left for the input: until all is restored, that program may need it back. */
  readonly #heldForInput = new DisposableStack();
  #slave: OwnedFd | undefined;
  #outputRelay: Relay | undefined;
  #inputRelay: Relay | undefined;
  #size: WindowSize | undefined;
  #hasEnded = false;
  #retryMs = FIRST_RETRY_MS;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;

  /** Takes over `input` and `sink`. */
  constructor(options: {
    readonly input: InputSource | undefined;
    readonly sink: Sink;
    readonly poller: Poller;
    readonly log: Logger;
  }) {
    this.#input = options.input;
    this.#sink = options.sink;
    this.#poller = options.poller;
    this.#log = options.log;
  }

  static restore(state: Shaped<typeof terminalState>, context: RestoreContext): Terminal {
    const input = state.input && InputSource.restore(state.input);
    const terminal = new Terminal({ input, sink: Sink.restore(state.sink, context), ...context });
    terminal.#size = state.size;
    if (state.hasEnded) terminal.#finish();
    terminal.#slave = OwnedFd.restore(state.slave);
    const master = OwnedFd.restore(state.master);
    terminal.#master = master;
    if (!master.isOpen) return terminal;
    terminal.#outputRelay = terminal.#relayOutput(master.fd);
    terminal.#outputRelay.continue(state.output);
    if (state.output.state === "paused") terminal.#retryLater();
    terminal.#heldForInput.use(OwnedFd.restore(state.masterForInput));
    if (input !== undefined && state.typing !== undefined) {
      terminal.#inputRelay = terminal.#relayInput(input, master.fd);
      terminal.#inputRelay.continue(state.typing);
    }
    return terminal;
  }

  /** Undefined before {@link attach}. */
  snapshot(inventory: Inventory) {
    if (this.#outputRelay === undefined) return undefined;
    const output = this.#outputRelay.snapshot(inventory);
    if (output.state === "paused") inventory.addErrand("a terminal has to be opened again");
    return {
      kind: "terminal",
      master: inventory.keep("pty-master", this.#master),
      masterForInput: undefined,
      slave: inventory.keep("pty-slave", this.#slave),
      input: this.#input?.snapshot(inventory),
      sink: this.#sink.snapshot(inventory),
      output,
      typing: this.#inputRelay?.snapshot(inventory),
      size: this.#size,
      hasEnded: this.#hasEnded,
    } as const;
  }

  /** Once the last byte of the process has been written to the sink. */
  get drained(): Promise<void> {
    return this.#ended.promise.then(() => this.#sink.untilTaken());
  }

  get isBeingRead(): boolean {
    return this.#sink.isFifo && (!this.#hasEnded || this.#sink.isBeingRead);
  }

  get lostBytes(): number {
    return this.#sink.lostBytes;
  }

  /** Takes over the master that the runtime sent; before {@link attach}. */
  adopt(master: OwnedFd): void {
    this.#master = master;
    setNonBlocking(master.fd, true);
    this.#slave = this.#tryOpenSlave();
    if (this.#size !== undefined) setWindowSize(master.fd, this.#size);
  }

  /** Starts relaying. */
  attach(): void {
    if (this.#master === undefined) return;
    const { fd } = this.#master;
    this.#outputRelay = this.#relayOutput(fd);
    this.#outputRelay.start();
    if (this.#input === undefined) return;
    this.#inputRelay = this.#relayInput(this.#input, fd);
    this.#inputRelay.start();
  }

  #relayOutput(master: number): Relay {
    return new Relay({
      poller: this.#poller,
      source: master,
      sink: this.#sink.fd,
      take: (bytes) => this.#sink.take(bytes),
      beforeNextRead: awaitRefill,
      onEnd: (end) => this.#outputEnded(end),
      onSourceError: (error) => this.#masterFailed(error),
      onSinkError: (error, bytes) => this.#sink.refused(error, bytes),
    });
  }

  #relayInput(input: InputSource, master: number): Relay {
    return new Relay({
      poller: this.#poller,
      source: input.fd,
      sink: master,
      onEnd: () => this.#releaseInput(),
      // Without a slave there is nobody to type to, and the next one starts with an empty line.
      onSinkError: () => "discard",
      epilogue: (lastByte) => this.#endOfInput(lastByte),
    });
  }

  /** Sets the window's size; remembered while the terminal is not there yet. */
  resize(size: WindowSize): void {
    this.#size = size;
    if (this.#master?.isOpen) setWindowSize(this.#master.fd, size);
  }

  closeStdin(): void {
    this.#input?.letEnd();
  }

  /** What the process wrote is in the terminal by now: reads until nothing is left, and no further. */
  processExited(): void {
    this.#slave?.[Symbol.dispose]();
    this.#inputRelay?.[Symbol.dispose]();
    this.#releaseInput();
    if (this.#outputRelay === undefined) this.#finish();
    else this.#outputRelay.endWhenDry();
  }

  async close(): Promise<void> {
    clearTimeout(this.#retryTimer);
    this.#outputRelay?.[Symbol.dispose]();
    this.#inputRelay?.[Symbol.dispose]();
    this.#releaseInput();
    this.#slave?.[Symbol.dispose]();
    this.#master?.[Symbol.dispose]();
    this.#sink.close();
    this.#finish();
  }

  descriptors(): readonly NamedFd[] {
    return [
      ...openOnes({
        "pty-master": this.#master,
        "pty-slave": this.#slave,
      }),
      ...(this.#input?.descriptors() ?? []),
      ...this.#sink.descriptors(),
    ];
  }

  #tryOpenSlave(): OwnedFd | undefined {
    if (this.#master === undefined) return undefined;
    try {
      return openSlave(this.#master.fd);
    } catch (error) {
      this.#log.debug("Cannot hold the terminal's slave", { error: messageOf(error) });
      return undefined;
    }
  }

  /** No slave is open, which passes when somebody opens one: at the latest when we do. */
  #masterFailed(error: unknown): "end" | "pause" {
    if (!hasCode(error, "EIO")) return "end";
    this.#slave?.[Symbol.dispose]();
    this.#slave = this.#tryOpenSlave();
    this.#retryLater();
    return "pause";
  }

  #retryLater(): void {
    clearTimeout(this.#retryTimer);
    const waitMs = this.#retryMs;
    this.#retryTimer = setTimeout(() => {
      // For a failure within this call: it is still the same one.
      this.#retryMs = Math.min(waitMs * 2, LONGEST_RETRY_MS);
      this.#outputRelay?.resume();
      this.#retryMs = FIRST_RETRY_MS;
    }, waitMs);
  }

  #finish(): void {
    this.#hasEnded = true;
    this.#ended.resolve();
  }

  #outputEnded(end: RelayEnd): void {
    const failure = describeEnd(end);
    if (failure !== undefined) this.#log.error("Terminal relay failed", { error: failure });
    clearTimeout(this.#retryTimer);
    this.#sink.finish();
    this.#finish();
  }

  /**
   * The client's input has ended for good (CloseIO). A terminal has no end of file but the character
   * that means one; after an unfinished line the first of two only hands over that line (termios(3)).
   */
  #endOfInput(lastByte: number | undefined): Uint8Array {
    if (!this.#master?.isOpen) return new Uint8Array(0);
    const character = endOfInputCharacter(terminalModes(this.#master.fd));
    if (character === 0) return new Uint8Array(0);
    const isLineDone =
      lastByte === undefined || lastByte === LINE_FEED || lastByte === CARRIAGE_RETURN;
    return new Uint8Array(isLineDone ? 1 : 2).fill(character);
  }

  #releaseInput(): void {
    this.#heldForInput.dispose();
    this.#input?.[Symbol.dispose]();
  }
}
