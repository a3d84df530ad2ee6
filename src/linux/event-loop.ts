/** The engine's event loop as the kernel knows it: an epoll instance (epoll(7)). */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { hasCode } from "./errno.ts";

const OWN_DESCRIPTORS = "/proc/self/fd";

/**
 * The epoll instance in which `member` is watched (proc(5), fdinfo), lent; undefined where there is none, or no
 * descriptor is left to look for it.
 */
export function findEventLoop(member: number): number | undefined {
  const isWatched = new RegExp(`^tfd: +${member} `, "m");
  const watches = (fd: number) =>
    isEpoll(fd) && isWatched.test(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"));
  try {
    return readdirSync(OWN_DESCRIPTORS).map(Number).find(watches);
  } catch (error) {
    if (hasCode(error, "EMFILE", "ENFILE", "ENOMEM")) return undefined;
    throw error;
  }
}

/** Whether a descriptor of this process is an epoll instance; false for one that is closed. */
export function isEpoll(fd: number): boolean {
  try {
    return readlinkSync(`${OWN_DESCRIPTORS}/${fd}`) === "anon_inode:[eventpoll]";
  } catch {
    return false;
  }
}
