/** The socket over which an OCI runtime hands us the master of the container's terminal. */

import { mkdtempSync, rmdirSync, unlinkSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { messageOf, ShimError } from "../base/error.ts";
import { within } from "../base/limit.ts";
import type { OwnedFd } from "../linux/fd.ts";
import { SOCKET_PATH_BYTES } from "../linux/listener.ts";
import type { Poller, Watch } from "../linux/poller.ts";
import { windowSize } from "../linux/pty.ts";
import { acceptUnix, listenUnix, receiveDescriptors } from "../linux/scm-rights.ts";
import { type NamedFd, openOnes } from "./named-fd.ts";

/** The name within the directory; bundles can be deep, so the directory is short and elsewhere. */
const SOCKET_NAME = "s";
const DIRECTORY_PREFIX = "wedge-pty-";
const RANDOM_CHARACTERS = 6;
const FALLBACK_DIRECTORY = "/tmp";

/** A listening socket in a directory that only we can enter. */
export class ConsoleSocket implements Disposable {
  readonly path: string;
  readonly #directory: string;
  readonly #listener: OwnedFd;
  readonly #poller: Poller;
  #connection: OwnedFd | undefined;
  #watch: Watch | undefined;
  #waiting: PromiseWithResolvers<OwnedFd> | undefined;
  #isRemoved = false;

  /** `runtimeDir` is $XDG_RUNTIME_DIR; /tmp if that is missing, relative or too long. Throws SystemError. */
  constructor(poller: Poller, runtimeDir: string | undefined) {
    this.#poller = poller;
    this.#directory = makeDirectory(runtimeDir);
    this.path = join(this.#directory, SOCKET_NAME);
    try {
      this.#listener = listenUnix(this.path);
    } catch (error) {
      this.#remove();
      throw error;
    }
  }

  /**
   * Takes the master that the runtime has sent, and removes the socket. To be called after the runtime
   * has succeeded, when the message is already there; the limit is for a runtime that sends none.
   * Throws ShimError: deadlineExceeded, or failedPrecondition for what is not a terminal.
   */
  async receiveMaster(limitMs: number): Promise<OwnedFd> {
    try {
      const received = Promise.withResolvers<OwnedFd>();
      this.#waiting = received;
      this.#receive(received);
      const master = await within(received.promise, limitMs);
      if (master === "late") {
        throw new ShimError(
          "deadlineExceeded",
          `The runtime sent no terminal over the console socket: waited ${limitMs} ms`,
        );
      }
      return master;
    } finally {
      this[Symbol.dispose]();
    }
  }

  /** Removes the socket; a waiter for the master is rejected. Never throws. */
  [Symbol.dispose](): void {
    this.#waiting?.reject(new ShimError("canceled", "The console socket was closed"));
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
    this.#connection?.[Symbol.dispose]();
    this.#listener[Symbol.dispose]();
    this.#remove();
  }

  /** Without listing a directory: that takes a descriptor, and this may run because there is none left. */
  #remove(): void {
    if (this.#isRemoved) return;
    this.#isRemoved = true;
    try {
      unlinkSync(this.path);
    } catch {
      // It was never created, or somebody else has removed it.
    }
    try {
      rmdirSync(this.#directory);
    } catch {
      // What another program has put there is not ours to remove.
    }
  }

  descriptors(): readonly NamedFd[] {
    return openOnes({ "console-socket": this.#listener, "console-connection": this.#connection });
  }

  /** Goes as far as it can without waiting, and is called again when the descriptor that it waits for is ready. */
  #receive(result: PromiseWithResolvers<OwnedFd>): void {
    try {
      const master = this.#takeMaster();
      if (master === "again") this.#comeBack(result);
      else result.resolve(master);
    } catch (error) {
      result.reject(error);
    }
  }

  #comeBack(result: PromiseWithResolvers<OwnedFd>): void {
    const fd = this.#connection?.fd ?? this.#listener.fd;
    const watch = this.#poller.watch(fd, { readable: true }, () => {
      watch[Symbol.dispose]();
      this.#watch = undefined;
      this.#receive(result);
    });
    this.#watch = watch;
  }

  #takeMaster(): OwnedFd | "again" {
    if (this.#connection === undefined) {
      const accepted = acceptUnix(this.#listener.fd);
      if (accepted === "again") return "again";
      this.#connection = accepted;
    }
    const received = receiveDescriptors(this.#connection.fd);
    return received === "again" ? "again" : onlyTerminal(received);
  }
}

function makeDirectory(runtimeDir = ""): string {
  const bytes = Buffer.byteLength(
    join(runtimeDir, DIRECTORY_PREFIX + "x".repeat(RANDOM_CHARACTERS), SOCKET_NAME),
  );
  if (isAbsolute(runtimeDir) && bytes <= SOCKET_PATH_BYTES) {
    try {
      return mkdtempSync(join(runtimeDir, DIRECTORY_PREFIX)); // mode 0700, by mkdtemp(3)
    } catch {
      // Set, but not usable (a service without a session): the fallback serves as well.
    }
  }
  return mkdtempSync(join(FALLBACK_DIRECTORY, DIRECTORY_PREFIX));
}

/** The one descriptor received, when it is a terminal; closes all others. */
function onlyTerminal(received: readonly OwnedFd[]): OwnedFd {
  const [master, ...others] = received;
  for (const other of others) other[Symbol.dispose]();
  if (master === undefined) {
    throw new ShimError(
      "failedPrecondition",
      "The runtime sent no descriptor over the console socket",
    );
  }
  try {
    windowSize(master.fd);
    return master;
  } catch (cause) {
    master[Symbol.dispose]();
    throw new ShimError(
      "failedPrecondition",
      `The runtime sent something else than a terminal: ${messageOf(cause)}`,
      { cause },
    );
  }
}
