/**
 * Which connections the shim takes: those of its own user, as long as enough descriptors are left.
 *
 * The event loop accepts whatever comes, and where the kernel has no descriptor for it, tries again at
 * once and for ever. So connections may not have the last descriptors: the kernel gives the lowest free
 * number, which tells how many are taken, and one that is too high is closed. The new one and never an
 * old one, as containerd takes a lost connection for a dead shim.
 */

import type { Logger } from "../base/log.ts";
import { descriptorLimit } from "../linux/descriptor-limit.ts";
import { peerCredentials } from "../linux/peer-credentials.ts";
import type { Peer } from "../rpc/service.ts";

/** Descriptors that are left to containers, and to what a call opens. */
const RESERVE = 32;
/** A manager and its tools have a handful; each costs a few kilobytes. */
const CONNECTIONS_MAX = 2048;
/** Of refusals, which may come by the thousand, one line in so many milliseconds. */
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

  /** Who is at the other end of a connection that has just been accepted; undefined for one that must be closed. */
  admit(fd: number): Peer | undefined {
    const peer = peerCredentials(fd);
    // Only the user that this shim runs as may call it, whatever the mode of the socket (unix(7)).
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
