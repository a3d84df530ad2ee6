/** The stdio of one process: opened as the manager asked, lent to the runtime, let go when it has ended. */

import type { OwnedFd } from "../linux/fd.ts";
import { ConsoleSocket } from "./console-socket.ts";
import { canHandOver, type EndOwner, findEndpoint } from "./endpoint.ts";
import { handOverOutput } from "./handed-output.ts";
import { InputSource, relayInput } from "./input.ts";
import { LogFile, type LogFileOptions, LogStream, openLogFile } from "./log-file.ts";
import { openLogOutputs } from "./log-output.ts";
import { startLogger } from "./logger.ts";
import { OpenedStdio, type ProcessStdio, type StdioContext } from "./opened-stdio.ts";
import { relayOutput } from "./relayed-output.ts";
import { Sink } from "./sink.ts";
import { Terminal } from "./terminal.ts";
import { parseTarget, type Target } from "./uri.ts";

/** The runtime has ended by then, so the terminal is there or never comes. */
const CONSOLE_LIMIT_MS = 10_000;

/** What a manager asks for: paths as in the Task API, "" for none. */
export interface StdioRequest extends EndOwner {
  readonly terminal: boolean;
  readonly stdin: string;
  /** A path, or a URI whose scheme decides for `stderr` too. */
  readonly stdout: string;
  readonly stderr: string;
  /**
   * Whether a FIFO of the client may itself become the process's output. Not where something may outlive
   * the process and hold it open: nobody could cut that off from a FIFO that it holds itself.
   */
  readonly handsOver: boolean;
  /** What a logging binary is told as CONTAINER_ID. */
  readonly containerId: string;
  readonly namespace: string;
}

/**
 * Opens stdio. Never waits for a client; waits for a logger to be ready.
 * Throws ShimError for a request that cannot be met, with nothing left behind.
 */
export async function openStdio(
  request: StdioRequest,
  context: StdioContext,
): Promise<ProcessStdio> {
  const target = parseTarget(request.stdout);
  const builder = new StdioBuilder(request, context);
  try {
    if (request.terminal) await builder.openTerminal(target);
    else await builder.openStreams(target);
    return builder.stdio;
  } catch (error) {
    await builder.stdio.close();
    throw error;
  }
}

/** Opens part after part into one stdio, which closes what is there when a later part fails. */
class StdioBuilder {
  readonly stdio = new OpenedStdio();
  readonly #request: StdioRequest;
  readonly #context: StdioContext;

  constructor(request: StdioRequest, context: StdioContext) {
    this.#request = request;
    this.#context = context;
  }

  async openStreams(target: Target): Promise<void> {
    const { stdin } = this.#request;
    if (stdin !== "") {
      const { part, childEnd } = relayInput(stdin, this.#options("stdin"));
      this.stdio.addInput(part);
      this.stdio.setEnd(0, childEnd);
    }
    switch (target.kind) {
      case "path":
        this.#openPaths();
        return;
      case "file":
        if (target.log === undefined) this.#openFile(target.path);
        else this.#openLog(target.path, target.log);
        return;
      case "binary": {
        const logger = await this.#startLogger(target);
        this.stdio.setEnd(1, logger.stdout);
        this.stdio.setEnd(2, logger.stderr);
      }
    }
  }

  async openTerminal(target: Target): Promise<void> {
    const { poller, log, runtimeDir, consoleLimitMs } = this.#context;
    const { stdin } = this.#request;
    using undo = new DisposableStack();
    const input = stdin === "" ? undefined : undo.use(InputSource.open(stdin));
    const sink = await this.#terminalSink(target);
    undo.defer(() => sink.close());
    const socket = new ConsoleSocket(poller, runtimeDir);
    undo.move();
    const terminal = new Terminal({ input, sink, poller, log });
    this.stdio.addTerminal(terminal, socket, consoleLimitMs ?? CONSOLE_LIMIT_MS);
  }

  #openPaths(): void {
    const { stdout, stderr } = this.#request;
    if (stdout !== "") this.#openOutput(stdout, "stdout", stdout === stderr ? [1, 2] : [1]);
    if (stderr !== "" && stderr !== stdout) this.#openOutput(stderr, "stderr", [2]);
  }

  #openOutput(path: string, name: string, places: readonly (1 | 2)[]): void {
    using endpoint = findEndpoint(path, name);
    const isHanded = this.#request.handsOver && canHandOver(endpoint);
    const { part, childEnd } = isHanded
      ? handOverOutput(endpoint, this.#options(name))
      : relayOutput(Sink.open(endpoint, name, this.#context), this.#options(name));
    this.stdio.add(part);
    for (const place of places) {
      this.stdio.setEnd(place, childEnd);
      if (isHanded) this.stdio.setHanded(place, part);
    }
  }

  /**
   * Relayed and not handed over: `echo x > /dev/stdout` in the container would truncate the file, and the
   * runtime would give the file to the container's user.
   */
  #openFile(path: string): void {
    const sink = Sink.over(openLogFile(path), "stdout", this.#context.log);
    const { part, childEnd } = relayOutput(sink, this.#options("stdout"));
    this.stdio.add(part);
    this.stdio.setEnd(1, childEnd);
    if (this.#request.stderr !== "") this.stdio.setEnd(2, childEnd);
  }

  #openLog(path: string, options: LogFileOptions): void {
    const isErrorWanted = this.#request.stderr !== "";
    const file = new LogFile(path, options, this.#context.log);
    this.stdio.addFile(file);
    for (const output of openLogOutputs(file, isErrorWanted, (name) => this.#options(name))) {
      this.stdio.add(output.part);
      for (const place of output.places) this.stdio.setEnd(place, output.childEnd);
    }
  }

  async #terminalSink(target: Target): Promise<Sink> {
    const { stdout } = this.#request;
    const { log } = this.#context;
    switch (target.kind) {
      case "path": {
        if (stdout === "") return Sink.nowhere("stdout", log);
        using endpoint = findEndpoint(stdout, "stdout");
        return Sink.open(endpoint, "stdout", this.#context);
      }
      case "file": {
        if (target.log === undefined) return Sink.over(openLogFile(target.path), "stdout", log);
        const file = new LogFile(target.path, target.log, log);
        this.stdio.addFile(file);
        return Sink.into(new LogStream(file, "stdout"), "stdout", log);
      }
      case "binary": {
        const logger = await this.#startLogger(target);
        logger.stderr[Symbol.dispose](); // A terminal has one output: the logger sees the end of this one.
        return Sink.over(logger.stdout, "stdout", log);
      }
    }
  }

  async #startLogger(
    target: Extract<Target, { kind: "binary" }>,
  ): Promise<{ readonly stdout: OwnedFd; readonly stderr: OwnedFd }> {
    const { containerId, namespace } = this.#request;
    const { poller, children, log, loggerLimits } = this.#context;
    const { path, args, mustAnswer } = target;
    const owner = this.#request;
    const limits = loggerLimits === undefined ? {} : { limits: loggerLimits };
    const logger = await startLogger({
      ...{ path, args, mustAnswer, containerId, namespace, owner, poller, children, log },
      ...limits,
    });
    this.stdio.add(logger.part);
    return logger;
  }

  #options(name: string) {
    const { poller, log } = this.#context;
    return { name, owner: this.#request, poller, log };
  }
}
