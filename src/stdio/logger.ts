/** A logging program (binary://, binary-v2://): it reads the container's output from pipes of its own. */

import { messageOf, ShimError } from "../base/error.ts";
import type { Inventory } from "../base/inventory.ts";
import { within } from "../base/limit.ts";
import type { Logger } from "../base/log.ts";
import { record, type Shaped } from "../base/shape.ts";
import type { Child, Children } from "../linux/children.ts";
import { OwnedFd, openPipe, readFd, setNonBlocking, type Transfer } from "../linux/fd.ts";
import { hasWriter } from "../linux/pipe.ts";
import type { Poller } from "../linux/poller.ts";
import { SIGKILL, SIGTERM } from "../linux/signals.ts";
import { type EndOwner, giveTo } from "./endpoint.ts";
import { type NamedFd, openOnes } from "./named-fd.ts";
import type { Part } from "./part.ts";
import { loggerFields } from "./part-state.ts";
import { Relay } from "./relay.ts";

const loggerState = record(loggerFields);

/** How long a logger may take for each step, in milliseconds. */
export interface LoggerLimits {
  /** Until it reports that it is ready. */
  readonly readyMs: number;
  /** From the end of its input to SIGTERM. */
  readonly endMs: number;
  /** From SIGTERM to SIGKILL. */
  readonly killMs: number;
}

/** The last is what the stock shim gives, so that loggers made for it have time to flush. */
export const LOGGER_LIMITS: LoggerLimits = { readyMs: 10_000, endMs: 2000, killMs: 12_000 };

export interface LoggerOptions {
  readonly path: string;
  readonly args: readonly string[];
  readonly mustAnswer: boolean;
  readonly containerId: string;
  readonly namespace: string;
  readonly owner: EndOwner;
  readonly poller: Poller;
  readonly children: Children;
  readonly log: Logger;
  readonly limits?: LoggerLimits;
}

/** The writing ends of the logger's pipes, blocking, the caller's from now on. */
export interface StartedLogger {
  readonly part: Part;
  readonly stdout: OwnedFd;
  readonly stderr: OwnedFd;
}

/**
 * Starts a logger and waits until it is ready.
 *
 * It has the pipes as descriptors 3 and 4, and 5 to report that it is ready: by closing it, or, where
 * `mustAnswer`, by writing a byte. Throws ShimError when it cannot be started, exits before it is
 * ready, or takes too long; it is gone by then.
 */
export async function startLogger(options: LoggerOptions): Promise<StartedLogger> {
  await using undo = new AsyncDisposableStack();
  const open = () => {
    const { reader, writer } = openPipe();
    return { reader: undo.use(reader), writer: undo.use(writer) };
  };
  const out = open();
  const error = open();
  const ready = open();
  giveTo(options.owner, out.writer.fd);
  giveTo(options.owner, error.writer.fd);
  const child = spawnLogger(options, [out.reader.fd, error.reader.fd, ready.writer.fd]);
  undo.defer(async () => {
    child.signal(SIGKILL);
    await child.exited;
  });
  ready.writer[Symbol.dispose]();
  setNonBlocking(ready.reader.fd, true);
  await waitUntilReady(ready.reader, child, options);
  ready.reader[Symbol.dispose]();
  undo.move();
  const part = new LoggerPart(child, [out.reader, error.reader], options);
  part.watchLogger();
  return { part, stdout: out.writer, stderr: error.writer };
}

function spawnLogger(options: LoggerOptions, descriptors: readonly number[]): Child {
  try {
    return options.children.spawn({
      argv: [options.path, ...options.args],
      env: [`CONTAINER_ID=${options.containerId}`, `CONTAINER_NAMESPACE=${options.namespace}`],
      stdio: [undefined, undefined, undefined, ...descriptors],
    });
  } catch (cause) {
    throw new ShimError("unknown", `failed to start binary process: ${messageOf(cause)}`, {
      cause,
    });
  }
}

async function waitUntilReady(
  reader: OwnedFd,
  child: Child,
  options: LoggerOptions,
): Promise<void> {
  const { readyMs } = options.limits ?? LOGGER_LIMITS;
  const answered = Promise.withResolvers<Transfer>();
  using _watch = options.poller.watch(reader.fd, { readable: true }, () => {
    try {
      const count = readFd(reader.fd, new Uint8Array(1));
      if (count !== "again") answered.resolve(count);
    } catch (error) {
      answered.reject(error);
    }
  });
  const count = await within(answered.promise, readyMs);
  if (count === "late") {
    throw new ShimError(
      "deadlineExceeded",
      `Logging binary ${options.path} was not ready within ${readyMs} ms: it must close descriptor 5, or write a byte to it`,
    );
  }
  if (count === 0 && options.mustAnswer) {
    throw new ShimError(
      "failedPrecondition",
      `logging binary did not call ready (it may have crashed or exited prematurely): ${options.path}`,
    );
  }
  if (count === 0 && child.exit !== undefined && child.exit.status !== 0) {
    throw new ShimError(
      "failedPrecondition",
      `Logging binary ${options.path} ended before it was ready: status ${child.exit.status}`,
    );
  }
}

type LoggerPartOptions = Pick<LoggerOptions, "path" | "poller" | "log" | "limits">;

/** A running logger. Reading ends of its pipes are kept, so that its death does not kill the container. */
export class LoggerPart implements Part {
  readonly #child: Child;
  readonly #readers: readonly OwnedFd[];
  readonly #options: LoggerPartOptions;
  readonly #limits: LoggerLimits;
  readonly #exited = Promise.withResolvers<void>();
  #discarding: readonly Relay[] = [];
  #hasProcessExited = false;
  #closing: Promise<void> | undefined;

  constructor(child: Child, readers: readonly OwnedFd[], options: LoggerPartOptions) {
    this.#child = child;
    this.#readers = readers;
    this.#options = options;
    this.#limits = options.limits ?? LOGGER_LIMITS;
  }

  static restore(
    state: Shaped<typeof loggerState>,
    context: Omit<LoggerPartOptions, "path"> & { readonly children: Children },
  ): LoggerPart {
    const readers = state.readers.map((reader) => OwnedFd.restore(reader));
    const part = new LoggerPart(context.children.restore(state.child), readers, {
      ...context,
      path: state.path,
    });
    if (state.hasProcessExited) part.processExited();
    if (state.discarding.length === 0) part.watchLogger();
    else part.#discarding = part.#discardAll();
    state.discarding.forEach((relay, place) => {
      part.#discarding[place]?.continue(relay);
    });
    return part;
  }

  snapshot(inventory: Inventory) {
    if (this.#closing !== undefined) inventory.addObstacle("a logger is ending");
    return {
      kind: "logger",
      path: this.#options.path,
      child: this.#child.snapshot(inventory),
      readers: this.#readers.map((reader) => inventory.keep("logger-pipe", reader)),
      discarding: this.#discarding.map((relay) => relay.snapshot(inventory)),
      hasProcessExited: this.#hasProcessExited,
    } as const;
  }

  /** Begins to watch for its end. */
  watchLogger(): void {
    // Never rejects, and ends with the logger, which close() sees to.
    void this.#child.exited.then(() => this.#loggerEnded());
  }

  /** The logger reads for itself; close() waits for it. */
  get drained(): Promise<void> {
    return this.#exited.promise;
  }

  attach(): void {
    // It is already running.
  }

  processExited(): void {
    this.#hasProcessExited = true;
    this.#exited.resolve();
  }

  /** Waits for the logger to exit by itself at the end of its input, then asks, then kills. */
  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  descriptors(): readonly NamedFd[] {
    const [stdout, stderr] = this.#readers;
    return openOnes({ "logger-stdout": stdout, "logger-stderr": stderr });
  }

  async #end(): Promise<void> {
    this.#exited.resolve();
    for (const relay of this.#discarding) relay[Symbol.dispose]();
    for (const reader of this.#readers) reader[Symbol.dispose]();
    const { exited } = this.#child;
    if ((await within(exited, this.#limits.endMs)) !== "late") return;
    this.#child.signal(SIGTERM);
    if ((await within(exited, this.#limits.killMs)) !== "late") return;
    const { path, log } = this.#options;
    log.warn("Logging binary did not end when asked and is killed", { path });
    this.#child.signal(SIGKILL);
    await exited;
  }

  #loggerEnded(): void {
    if (this.#closing !== undefined || this.#hasProcessExited) return;
    // It may exit at the end of its input before the exit of the process is known.
    if (!this.#readers.some((reader) => hasWriter(reader.fd))) return;
    const { path, log } = this.#options;
    const status = this.#child.exit?.status;
    log.error("Logging binary ended while it was needed: output is lost from now on", {
      path,
      status,
    });
    this.#discarding = this.#discardAll();
    for (const relay of this.#discarding) relay.start();
  }

  #discardAll(): readonly Relay[] {
    const { poller } = this.#options;
    return this.#readers.map((reader) => {
      setNonBlocking(reader.fd, true);
      return new Relay({ poller, source: reader.fd, sink: undefined, onEnd: () => {} });
    });
  }
}
