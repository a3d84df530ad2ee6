/** What leads to a shim: its socket, and the address files in its bundles that say where that is. */

import { existsSync, realpathSync } from "node:fs";
import { messageOf } from "../../base/error.ts";
import type { Logger } from "../../base/log.ts";
import { noteAddress, removeOwnAddress } from "../../bundle/address-file.ts";
import { removeStaleSocket } from "../../linux/listener.ts";

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

  /** Sees to it that `bundle` has an address file. Does nothing if the bundle is gone. Throws SystemError. */
  publish(bundle: string): void {
    const { socket } = this.#options;
    if (socket !== undefined && existsSync(bundle)) noteAddress(bundle, socket);
  }

  /** The container of `bundle` is deleted. The first one's file stays while the shim serves: others look there. */
  withdraw(bundle: string): void {
    const { socket, bundle: first } = this.#options;
    if (socket === undefined || !existsSync(bundle) || realpathSync(bundle) === first) return;
    removeOwnAddress(bundle, socket);
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
      log.warn("Cannot remove the socket", { error: messageOf(error) });
    }
    removeOwnAddress(bundle, socket);
  }
}
