/**
 * Which connections the shim takes: those of its own user, as long as enough descriptors are left.
 *
 * The event loop accepts whatever comes and, when the kernel has no descriptor for it, retries at once
 * and forever. So connections must not take the last descriptors: the kernel hands out the lowest free
 * number, which tells how many are taken, and a connection with too high a number is closed. The new one
 * and never an old one, as containerd takes a lost connection for a dead shim.
 */

import type { Logger } from "../../base/log.ts";
import { descriptorLimit } from "../../linux/descriptor-limit.ts";
import { peerCredentials } from "../../linux/peer-credentials.ts";
import type { Peer } from "../../rpc/service.ts";

/** Descriptors reserved for containers, and for what a call opens. */
const RESERVE = 32;
/** A manager and its tools hold a handful; each costs a few kilobytes. */
const CONNECTIONS_MAX = 2048;
/** Refusals may come by the thousand: one log line in so many milliseconds. */
const REPORT_INTERVAL_MS = 1000;

export class Admission {
  readonly #countConnections: () => number;
  readonly #log: Logger;
  #reportedAtMs = Number.NEGATIVE_INFINITY;

  /** `countConnections` gives how many are open. */
  constructor(countConnections: () => number, log: Logger) {
    this.#countConnections = countConnections;
    this.#log = log;
  }

  /** The peer of a connection that has just been accepted; undefined for one that must be closed. */
  admit(fd: number): Peer | undefined {
    const peer = peerCredentials(fd);
    // Only the user that this shim runs as may call it, whatever the socket's mode (unix(7)).
    if (peer.uid !== process.geteuid?.()) this.#report("it is another user's", peer);
    else if (this.#countConnections() >= CONNECTIONS_MAX) this.#report("there are too many", peer);
    else if (fd > RESERVE && fd >= descriptorLimit() - RESERVE) {
      this.#report("too few descriptors are left", peer);
    } else return peer;
    return undefined;
  }

  #report(why: string, peer: Peer): void {
    const nowMs = performance.now();
    if (nowMs - this.#reportedAtMs < REPORT_INTERVAL_MS) return;
    this.#reportedAtMs = nowMs;
    this.#log.warn(`Connection refused: ${why}`, { ...peer });
  }
}
