/** What leads to a shim: its socket, and the address files in its bundles that say where that is. */

import { existsSync, realpathSync, rmSync } from "node:fs";
import { messageOf } from "../../base/error.ts";
import type { Logger } from "../../base/log.ts";
import { noteAddress, removeOwnAddress } from "../../bundle/address-file.ts";
import { removeStaleSocket, socketPath } from "../../linux/listener.ts";

export interface PublishedAddressOptions {
  /** The bundle that `start` has made the shim for, free of symlinks. */
  readonly bundle: string;
  /** The path of the socket; undefined for one that has none. */
  readonly socket: string | undefined;
  readonly log: Logger;
}

/** For a shim that serves. `delete` takes any of this that it finds for work left to do. */
export class PublishedAddress {
  readonly #options: PublishedAddressOptions;
  #isRemoved = false;

  constructor(options: PublishedAddressOptions) {
    this.#options = options;
  }

  /** Sees to it that `bundle` has an address file. Does nothing if the bundle is gone. Never throws. */
  publish(bundle: string): void {
    const { socket, log } = this.#options;
    try {
      if (socket !== undefined && existsSync(bundle)) noteAddress(bundle, socket);
    } catch (error) {
      // A full disk: only an older containerd would look there.
      log.warn("Cannot write the address of the shim", { bundle, error: messageOf(error) });
    }
  }

  /**
   * The container of `bundle` is deleted. The first one's file stays while the shim serves: others look there.
   * Never throws: the task is gone by then, which still has to be reported.
   */
  withdraw(bundle: string): void {
    const { socket, bundle: first, log } = this.#options;
    try {
      if (socket === undefined || !existsSync(bundle) || realpathSync(bundle) === first) return;
      removeOwnAddress(bundle, socket);
    } catch (error) {
      log.warn("Cannot remove the address of the shim", { bundle, error: messageOf(error) });
    }
  }

  /**
   * Nobody is to come any more; nobody listens. Once: afterwards the bundle's next shim may be there.
   * Never throws: what cannot be removed is in nobody's way but that shim's.
   */
  withdrawAll(): void {
    const { bundle, socket, log } = this.#options;
    if (this.#isRemoved || socket === undefined) return;
    this.#isRemoved = true;
    try {
      // Whoever listens there now has an address file that says the same, perhaps in a bundle of the same name.
      if (!removeStaleSocket(socket)) return;
    } catch (error) {
      // By the address file `delete` knows that it is still there.
      log.warn("Cannot remove the socket", { error: messageOf(error) });
      return;
    }
    removeOwnAddress(bundle, socket);
  }
}

/**
 * Takes back what `start` has told containerd, of a shim that never serves: its socket, and the address file in the
 * bundle, which is the working directory now. The result never throws.
 */
export function withdrawal(listener: number): () => void {
  const socket = socketPath(listener);
  return () => {
    if (socket === undefined) return;
    try {
      rmSync(socket, { force: true });
      removeOwnAddress(process.cwd(), socket);
    } catch {
      // The bundle is gone, or a directory has become read-only.
    }
  };
}
