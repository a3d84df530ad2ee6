/**
 * The container's stdin, stdout and stderr, and ours: FIFOs in a private directory, as any manager
 * creates them, and the bytes that go through them.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY, type OwnedFd, openFd } from "../../linux/fd.ts";
import { makeFifo } from "../../linux/fifo.ts";
import { growPipe } from "../../linux/pipe.ts";
import type { Poller } from "../../linux/poller.ts";
import { ByteRelay, openStandardStream, ownedEndpoint, type RelayEnd } from "./byte-relay.ts";

const FIFO_MODE = 0o600;
/** Room for what is written while nothing is passed on yet (pipe(7)). */
const FIFO_BYTES = 1_048_576;
const QUIET_CHECK_MS = 200;

export interface StreamPaths {
  readonly stdin: string;
  readonly stdout: string;
  /** "" with a terminal, which has one output. */
  readonly stderr: string;
}

interface OutputSource {
  readonly fifo: OwnedFd;
  /** Which of our streams it goes to. */
  readonly fd: 1 | 2;
}

/** Our reader keeps the FIFO open until the container has its own. */
interface InputEnds {
  readonly reader: OwnedFd | undefined;
  readonly writer: OwnedFd;
}

/** Disposing closes everything, and removes the directory if one was made. */
export class ContainerStreams implements Disposable {
  readonly paths: StreamPaths;
  readonly #poller: Poller;
  readonly #owned: DisposableStack;
  readonly #sources: readonly OutputSource[];
  #outputs: readonly ByteRelay[] = [];
  readonly #stdin: InputEnds | undefined;

  private constructor(
    paths: StreamPaths,
    poller: Poller,
    sources: readonly OutputSource[],
    stdin: InputEnds | undefined,
    owned: DisposableStack,
  ) {
    this.paths = paths;
    this.#poller = poller;
    this.#sources = sources;
    this.#stdin = stdin;
    this.#owned = owned;
  }

  /** Makes the FIFOs, those for output unless it goes elsewhere. Nothing is passed on yet. */
  static open(
    request: { readonly isTerminal: boolean } | { readonly output: Omit<StreamPaths, "stdin"> },
    poller: Poller,
  ): ContainerStreams {
    using undo = new DisposableStack();
    const folder = mkdtempSync(join(tmpdir(), "wedge-shim-"));
    undo.defer(() => rmSync(folder, { recursive: true, force: true }));
    const make = (name: string) => {
      const path = join(folder, name);
      makeFifo(path, FIFO_MODE);
      return path;
    };
    const paths = {
      stdin: make("stdin"),
      ...("output" in request
        ? request.output
        : { stdout: make("stdout"), stderr: request.isTerminal ? "" : make("stderr") }),
    };
    const outputs = [
      ["output" in request ? "" : paths.stdout, 1],
      ["output" in request ? "" : paths.stderr, 2],
    ] as const;
    const sources = outputs
      .filter(([path]) => path !== "")
      .map(([path, fd]) => {
        const fifo = undo.use(openFd(path, O_RDONLY | O_NONBLOCK));
        growPipe(fifo.fd, FIFO_BYTES);
        return { fifo, fd };
      });
    // A writer can only be opened while there is a reader: ours, until the container has its own.
    const reader = undo.use(openFd(paths.stdin, O_RDONLY | O_NONBLOCK));
    const writer = undo.use(openFd(paths.stdin, O_WRONLY | O_NONBLOCK));
    return new ContainerStreams(paths, poller, sources, { reader, writer }, undo.move());
  }

  /**
   * Takes the place of the client of a running process, at the FIFOs that it was given. Throws
   * SystemError when one cannot be opened.
   */
  static join(paths: StreamPaths, poller: Poller): ContainerStreams {
    using undo = new DisposableStack();
    const outputs = [
      [paths.stdout, 1],
      [paths.stderr, 2],
    ] as const;
    const sources = outputs
      .filter(([path]) => path !== "")
      .map(([path, fd]) => ({ fifo: undo.use(openFd(path, O_RDONLY | O_NONBLOCK)), fd }));
    // Read-write: it neither fails while the reader is away, nor ends the input when another writer goes.
    const writer =
      paths.stdin === "" ? undefined : undo.use(openFd(paths.stdin, O_RDWR | O_NONBLOCK));
    const stdin = writer === undefined ? undefined : { reader: undefined, writer };
    return new ContainerStreams(paths, poller, sources, stdin, undo.move());
  }

  /**
   * Passes output on from here on. Called when the container is created: if that failed, the answer to
   * Create already contains what the runtime said before.
   */
  passOutput(): void {
    this.#outputs = this.#sources.map(({ fifo, fd }) =>
      this.#owned.use(
        new ByteRelay(this.#poller, ownedEndpoint(fifo), openStandardStream(fd, "write")),
      ),
    );
  }

  /**
   * Passes our stdin on, once the container has its end. Resolves at its end with "eof", the FIFO
   * closed on this side; when `isLast` says so, with "left"; or when the container stops reading. Never
   * rejects; never resolves for a container without stdin.
   */
  async passStdin(isLast?: (chunk: Uint8Array) => boolean): Promise<RelayEnd["kind"]> {
    if (this.#stdin === undefined) return await Promise.withResolvers<RelayEnd["kind"]>().promise;
    const { reader, writer } = this.#stdin;
    reader?.[Symbol.dispose]();
    const source = openStandardStream(0, "read");
    const relay = this.#owned.use(
      new ByteRelay(this.#poller, source, ownedEndpoint(writer), isLast),
    );
    return (await relay.ended).kind;
  }

  /** Resolves when an output of ours takes no more. */
  async broken(): Promise<Extract<RelayEnd, { kind: "broken" }>> {
    const { promise, resolve } = Promise.withResolvers<Extract<RelayEnd, { kind: "broken" }>>();
    for (const { ended } of this.#outputs) {
      void ended.then((end) => {
        if (end.kind === "broken") resolve(end);
      });
    }
    return await promise;
  }

  /**
   * Waits until all output of an ended container has been passed on. Gives up, and returns false,
   * when somebody holds an output open and writes nothing for `quietMsMax`. Waits for our own reader
   * as long as that takes.
   */
  async drain(quietMsMax: number): Promise<boolean> {
    const all = Promise.all(this.#outputs.map(({ ended }) => ended));
    const quiet = Promise.withResolvers<false>();
    const startedAtMs = performance.now();
    const timer = setInterval(() => {
      const sinceStartMs = performance.now() - startedAtMs;
      const quietMs = Math.min(sinceStartMs, ...this.#outputs.map((relay) => relay.quietMs));
      if (quietMs > quietMsMax) quiet.resolve(false);
    }, QUIET_CHECK_MS);
    try {
      return await Promise.race([all.then(() => true), quiet.promise]);
    } finally {
      clearInterval(timer);
    }
  }

  [Symbol.dispose](): void {
    this.#owned[Symbol.dispose]();
  }
}
