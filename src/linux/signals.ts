/**
 * Signals that wait in the kernel until they are read (signalfd(2)), so that none is lost while the
 * program of this process is exchanged: a pending signal and the blocked mask survive execve(2).
 */

import { ptr } from "bun:ffi";
import { assert } from "../base/assert.ts";
import { check, checkReturned, errno, SystemError } from "./errno.ts";
import { O_CLOEXEC, O_NONBLOCK, OwnedFd, readFd } from "./fd.ts";
import { eventTable, selfTable } from "./libc.ts";
import type { Poller } from "./poller.ts";

export const SIGINT = 2;
export const SIGUSR1 = 10;
export const SIGKILL = 9;
export const SIGTERM = 15;
export const SIGCHLD = 17;
const SIGUSR2 = 12;
const SIGPIPE = 13;
const SIGALRM = 14;
const SIGXCPU = 24;
const SIGVTALRM = 26;
const SIGPROF = 27;
const SIGIO = 29;
/** What ends a program that does not expect it, and has nothing to say to one that does. */
export const IDLE_SIGNALS: readonly number[] = [
  ...[SIGUSR2, SIGPIPE, SIGALRM, SIGXCPU, SIGVTALRM, SIGPROF, SIGIO],
];

const NAMES: ReadonlyMap<number, NodeJS.Signals> = new Map([
  [SIGINT, "SIGINT"],
  [SIGUSR1, "SIGUSR1"],
  [SIGTERM, "SIGTERM"],
  [SIGCHLD, "SIGCHLD"],
]);

/** For signal(2). */
const SIG_IGN = 1;
const SIG_ERR = -1;
const SIG_BLOCK = 0;
const SIG_UNBLOCK = 1;
const SIG_SETMASK = 2;
/** sizeof(sigset_t) of glibc. */
const SIGSET_BYTES = 128;
/** sizeof(struct signalfd_siginfo), which begins with the signal's number. */
const SIGINFO_BYTES = 128;

/** As the runtime's own listeners know it. */
export function signalName(signal: number): NodeJS.Signals {
  const name = NAMES.get(signal);
  assert(name !== undefined, `signal ${signal} has a name here`);
  return name;
}

/** A sigset_t with these signals. */
export function signalSet(signals: readonly number[]): Uint8Array {
  const set = new Uint8Array(SIGSET_BYTES);
  for (const signal of signals) {
    const bit = signal - 1;
    set[bit >> 3] = (set[bit >> 3] ?? 0) | (1 << (bit & 7));
  }
  return set;
}

/** Blocks signals in this thread. Threads that it starts, and programs that it executes, inherit that. */
export function blockSignals(signals: readonly number[]): void {
  changeMask(SIG_BLOCK, signals);
}

/** Unblocks signals in this thread; pending ones arrive. */
export function unblockSignals(signals: readonly number[]): void {
  changeMask(SIG_UNBLOCK, signals);
}

/** Blocks all signals in this thread until disposal: no handler runs meanwhile, here or in a clone. */
export function holdSignals(): Disposable {
  const own = new Uint8Array(SIGSET_BYTES);
  const all = new Uint8Array(SIGSET_BYTES).fill(0xff);
  const { pthread_sigmask } = selfTable();
  checkReturned("pthread_sigmask", pthread_sigmask(SIG_SETMASK, ptr(all), ptr(own)));
  return {
    [Symbol.dispose]: () =>
      checkReturned("pthread_sigmask", pthread_sigmask(SIG_SETMASK, ptr(own), null)),
  };
}

/** Makes `signals` have no effect on this process, whatever program it executes. Throws SystemError. */
export function ignoreSignals(signals: readonly number[]): void {
  for (const signal of signals) {
    const former = Number(selfTable().signal(signal, SIG_IGN));
    if (former === SIG_ERR) throw new SystemError("signal", errno());
  }
}

function changeMask(how: number, signals: readonly number[]): void {
  const result = selfTable().pthread_sigmask(how, ptr(signalSet(signals)), null);
  checkReturned("pthread_sigmask", result);
}

/** A descriptor that is readable while one of `signals` is pending, close-on-exec. Throws SystemError. */
export function openSignals(signals: readonly number[]): OwnedFd {
  const flags = O_NONBLOCK | O_CLOEXEC;
  return new OwnedFd(check("signalfd", eventTable().signalfd(-1, ptr(signalSet(signals)), flags)));
}

/** Blocks `signals` and reports each that arrives, from then on or while they were already blocked. */
export class SignalWatch implements Disposable {
  readonly #owned: DisposableStack;
  readonly fd: number;

  constructor(poller: Poller, signals: readonly number[], onSignal: (signal: number) => void) {
    using undo = new DisposableStack();
    blockSignals(signals);
    const fd = undo.use(openSignals(signals));
    this.fd = fd.fd;
    undo.use(
      poller.watch(fd.fd, { readable: true }, () => {
        for (let signal = takeSignal(fd.fd); signal !== 0; signal = takeSignal(fd.fd))
          onSignal(signal);
      }),
    );
    this.#owned = undo.move();
  }

  /** Stops watching; the signals stay blocked. */
  [Symbol.dispose](): void {
    this.#owned[Symbol.dispose]();
  }
}

/** The next pending signal; 0 when there is none. */
function takeSignal(fd: number): number {
  const info = new Uint8Array(SIGINFO_BYTES);
  if (readFd(fd, info) !== SIGINFO_BYTES) return 0;
  return new DataView(info.buffer).getUint32(0, true);
}
