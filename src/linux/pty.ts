/** Pseudo-terminals (pty(7)): window size, modes, and the slave that belongs to a master. */

import { ptr } from "bun:ffi";
import { check } from "./errno.ts";
import { O_CLOEXEC, O_NONBLOCK, O_RDWR, OwnedFd } from "./fd.ts";
import { fileTable } from "./libc.ts";
import { linger } from "./linger.ts";

export const O_NOCTTY = 0o400;

const TCGETS = 0x5401n;
const TCSETS = 0x5402n;
const TIOCGWINSZ = 0x5413n;
const TIOCSWINSZ = 0x5414n;
const TIOCGPTPEER = 0x5441n;
/** The kernel's struct termios: four words of flags, the line discipline, 19 control characters. */
const TERMIOS_BYTES = 36;
const WINSIZE_BYTES = 8;
const IFLAG = 0;
const OFLAG = 4;
const CFLAG = 8;
const LFLAG = 12;
const CONTROL_CHARACTERS = 17;
const VEOF = 4;
const VTIME = 5;
const VMIN = 6;
/** IGNBRK, BRKINT, PARMRK, ISTRIP, INLCR, IGNCR, ICRNL, IXON: what raw mode clears of the input flags. */
const RAW_CLEARS_IFLAG = 0o1 | 0o2 | 0o10 | 0o40 | 0o100 | 0o200 | 0o400 | 0o2000;
const OPOST = 0o1;
/** CSIZE and PARENB. */
const RAW_CLEARS_CFLAG = 0o60 | 0o400;
const CS8 = 0o60;
const ICANON = 0o2;
/** ISIG, ICANON, ECHO, ECHONL, IEXTEN. */
const RAW_CLEARS_LFLAG = 0o1 | ICANON | 0o10 | 0o100 | 0o100000;

const REFILL_MS = 0.016;

/** A window, in characters. */
export interface WindowSize {
  readonly columns: number;
  readonly rows: number;
}

/** A terminal's modes as the kernel holds them, to be restored unchanged. */
export interface Termios {
  readonly bytes: Uint8Array;
}

/**
 * Blocks, for 16 microseconds or so, until a terminal that was just read has more, if there is more.
 *
 * A terminal keeps a page for the reader of its master, and a kernel worker refills it. A read that comes
 * too early sleeps until the worker is done, non-blocking or not (flush_work in n_tty_read), and waking us
 * costs more than we save. Whether it is done cannot be found out without disturbing it: poll(2) sleeps as
 * well, and FIONREAD takes the lock that it needs.
 */
export function awaitRefill(): void {
  linger.pass(REFILL_MS);
}

/** Sets the size; the terminal's foreground processes get SIGWINCH when it changes. */
export function setWindowSize(fd: number, size: WindowSize): void {
  const words = new Uint16Array(WINSIZE_BYTES / 2);
  words[0] = size.rows;
  words[1] = size.columns;
  check("ioctl(TIOCSWINSZ)", fileTable().ioctl(fd, TIOCSWINSZ, ptr(words)));
}

/** The size. Throws SystemError ENOTTY when `fd` is not a terminal. */
export function windowSize(fd: number): WindowSize {
  const words = new Uint16Array(WINSIZE_BYTES / 2);
  check("ioctl(TIOCGWINSZ)", fileTable().ioctl(fd, TIOCGWINSZ, ptr(words)));
  return { rows: words[0] ?? 0, columns: words[1] ?? 0 };
}

/** The modes. Throws SystemError ENOTTY when `fd` is not a terminal. */
export function terminalModes(fd: number): Termios {
  const bytes = new Uint8Array(TERMIOS_BYTES);
  check("ioctl(TCGETS)", fileTable().ioctl(fd, TCGETS, ptr(bytes)));
  return { bytes };
}

/** Sets the modes at once (TCSANOW of termios(3)). */
export function setTerminalModes(fd: number, modes: Termios): void {
  check("ioctl(TCSETS)", fileTable().ioctl(fd, TCSETS, ptr(modes.bytes)));
}

/** `modes` turned raw, as by cfmakeraw(3): every byte passes unchanged, none is echoed. */
export function rawModes(modes: Termios): Termios {
  const bytes = modes.bytes.slice();
  const view = new DataView(bytes.buffer);
  const clear = (offset: number, mask: number) =>
    view.setUint32(offset, view.getUint32(offset, true) & ~mask, true);
  clear(IFLAG, RAW_CLEARS_IFLAG);
  clear(OFLAG, OPOST);
  clear(LFLAG, RAW_CLEARS_LFLAG);
  clear(CFLAG, RAW_CLEARS_CFLAG);
  view.setUint32(CFLAG, view.getUint32(CFLAG, true) | CS8, true);
  bytes[CONTROL_CHARACTERS + VMIN] = 1;
  bytes[CONTROL_CHARACTERS + VTIME] = 0;
  return { bytes };
}

/** The character that means end of input (VEOF); 0 when it is disabled. */
export function endOfInputCharacter(modes: Termios): number {
  return modes.bytes[CONTROL_CHARACTERS + VEOF] ?? 0;
}

/**
 * Opens the slave of `master`, close-on-exec, never as our controlling terminal. Goes through the
 * master and not a path, so it works for a pty of another mount namespace (Linux 4.13).
 * Throws SystemError: EINVAL or ENOTTY on an older kernel, EIO while the slave is locked.
 */
export function openSlave(master: number): OwnedFd {
  const flags = O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK;
  const table = fileTable();
  // The third argument of this request is a number, which the table can only pass as an address.
  const argument = flags as unknown as Parameters<typeof table.ioctl>[2];
  return new OwnedFd(check("ioctl(TIOCGPTPEER)", table.ioctl(master, TIOCGPTPEER, argument)));
}
