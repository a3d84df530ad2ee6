/** A pty of a test's own, made as a runtime makes it. */

import { ptr } from "bun:ffi";
import { check } from "../../src/linux/errno.ts";
import { O_RDWR, type OwnedFd, openFd } from "../../src/linux/fd.ts";
import { fileTable } from "../../src/linux/libc.ts";
import { O_NOCTTY } from "../../src/linux/pty.ts";

const TIOCGPTN = 0x80045430n;
const TIOCSPTLCK = 0x40045431n;

/** A new pty: its master, blocking, and its slave unlocked and ready to be opened. */
export function openPty(): OwnedFd {
  const master = openFd("/dev/ptmx", O_RDWR | O_NOCTTY);
  const unlocked = new Int32Array(1);
  check("ioctl(TIOCSPTLCK)", fileTable().ioctl(master.fd, TIOCSPTLCK, ptr(unlocked)));
  return master;
}

/** The path of the slave under this mount namespace's /dev/pts. */
export function slavePath(master: number): string {
  const number = new Uint32Array(1);
  check("ioctl(TIOCGPTN)", fileTable().ioctl(master, TIOCGPTN, ptr(number)));
  return `/dev/pts/${number[0]}`;
}
