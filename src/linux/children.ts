/**
 * Spawn and wait: the only file that does either.
 *
 * A child is known by a pidfd in the poller, so its exit is found without SIGCHLD, and a signal to it
 * cannot hit a stranger. Orphans that are reparented to us (the process is a subreaper) are strays until
 * somebody adopts them. Strays are reaped on SIGCHLD, but never while a hold is taken: as long as nobody
 * waits for it, a dead stray stays a zombie that keeps its pid and its status. So whoever expects an
 * orphan (a container's process, which its runtime leaves behind) takes a hold before the runtime
 * starts, and adopts by pid afterwards, however early the process died.
 */

import { ptr } from "bun:ffi";
import { ActiveCount } from "../base/active-count.ts";
import { assert } from "../base/assert.ts";
import { ShimError } from "../base/error.ts";
import type { Inventory } from "../base/inventory.ts";
import { cString, cStringArray } from "./bytes.ts";
import {
  type Child,
  type ChildState,
  childOf,
  type Exit,
  hasDied,
  type TrackedChild,
} from "./child.ts";
import { type CopyTask, copyProcess } from "./copy.ts";
import { check, checkReturned, ECHILD, errno, hasCode, SystemError } from "./errno.ts";
import { duplicateFd, O_RDWR, OwnedFd } from "./fd.ts";
import { type Inheritance, lendInheritance, plainInheritance } from "./inheritance.ts";
import { processTable } from "./libc.ts";
import { openPidfd, signalPid, signalPidfd } from "./pidfd.ts";
import type { Poller } from "./poller.ts";
import { readStat } from "./proc-stat.ts";
import { ownPid } from "./self.ts";
import { SIGKILL, signalSet } from "./signals.ts";

export type { Child, Exit } from "./child.ts";

const WNOHANG = 1;
const POSIX_SPAWN_SETPGROUP = 0x02;
const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;
/** More than sizeof of glibc's posix_spawn_file_actions_t (80) and posix_spawnattr_t (336). */
const SPAWN_STRUCT_BYTES = 512;
/** The status of a process whose exit nobody could see; what containerd uses for "unknown". */
const UNKNOWN_STATUS = 255;

export interface SpawnOptions {
  /** `argv[0]` is the absolute path of the executable: there is no search in PATH; unless `path` names it. */
  readonly argv: readonly string[];
  /** The executable, if `argv[0]` is to be something other than its path. */
  readonly path?: string;
  /** The whole environment, `NAME=value`. */
  readonly env: readonly string[];
  readonly cwd?: string;
  /** Descriptors lent for 0, 1, 2 and on; undefined is /dev/null. Everything above is closed. */
  readonly stdio: readonly (number | undefined)[];
  /** A session of its own (setsid(2)), or a process group of its own, or neither. */
  readonly leads?: "session" | "group";
  /** Signals that it starts with blocked, by number; none without this. */
  readonly blocked?: readonly number[];
}

export interface ChildrenOptions {
  readonly poller: Poller;
  /** Reaps reparented strangers; off where others in this process wait for their own children. */
  readonly reapStrays: boolean;
  /** Attributes that spawned processes are to have, where this process has changed its own. */
  readonly inheritance?: Inheritance;
}

/**
 * Starts a process and returns its pid; nobody waits for it here.
 *
 * Signals are reset: none ignored, none blocked except those named. Every descriptor beyond `stdio` is closed in it.
 * Throws SystemError named after the executable: ENOENT, EACCES, ENOEXEC, EAGAIN.
 */
export function spawnProcess(options: SpawnOptions): number {
  const program = options.path ?? options.argv[0];
  assert(program !== undefined, "argv names a program");
  const libc = processTable();
  const actions = new Uint8Array(SPAWN_STRUCT_BYTES);
  const attributes = new Uint8Array(SPAWN_STRUCT_BYTES);
  const pid = new Int32Array(1);
  const devNull = cString("/dev/null");
  const path = cString(program);
  const cwd = options.cwd === undefined ? undefined : cString(options.cwd);
  const argv = cStringArray(options.argv);
  const env = cStringArray(options.env);
  const blocked = signalSet(options.blocked ?? []);
  const allSignals = new Uint8Array(blocked.length).fill(0xff);
  using lent = new DisposableStack();
  // A source may have the number of another's target: it is moved out of the way first.
  const sources = options.stdio.map((fd, target) =>
    fd !== undefined && fd !== target && fd < options.stdio.length
      ? lent.use(duplicateFd(fd, options.stdio.length)).fd
      : fd,
  );
  libc.posix_spawn_file_actions_init(ptr(actions));
  lent.defer(() => libc.posix_spawn_file_actions_destroy(ptr(actions)));
  libc.posix_spawnattr_init(ptr(attributes));
  lent.defer(() => libc.posix_spawnattr_destroy(ptr(attributes)));
  sources.forEach((fd, target) => {
    if (fd === undefined) {
      libc.posix_spawn_file_actions_addopen(ptr(actions), target, ptr(devNull), O_RDWR, 0);
    } else {
      libc.posix_spawn_file_actions_adddup2(ptr(actions), fd, target);
    }
  });
  libc.posix_spawn_file_actions_addclosefrom_np(ptr(actions), sources.length);
  if (cwd !== undefined) libc.posix_spawn_file_actions_addchdir_np(ptr(actions), ptr(cwd));
  let flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
  if (options.leads === "session") flags |= POSIX_SPAWN_SETSID;
  if (options.leads === "group") flags |= POSIX_SPAWN_SETPGROUP;
  libc.posix_spawnattr_setflags(ptr(attributes), flags);
  libc.posix_spawnattr_setsigmask(ptr(attributes), ptr(blocked));
  libc.posix_spawnattr_setsigdefault(ptr(attributes), ptr(allSignals));
  const result = libc.posix_spawn(
    ptr(pid),
    ptr(path),
    ptr(actions),
    ptr(attributes),
    ptr(argv.pointers),
    ptr(env.pointers),
  );
  // Named in quotes, as in Go's exec errors: users and tools search for it.
  checkReturned("exec", result, `"${program}"`);
  return pid[0] ?? -1;
}

/** Whether this process has children; a dead one that nobody has waited for is reaped. */
export function hasChildren(): boolean {
  return processTable().wait4(-1, null, WNOHANG, null) >= 0 || errno() !== ECHILD;
}

/** Waits for one child to exit, however long, and blocks meanwhile. Throws SystemError. */
export function waitForPid(pid: number): Exit {
  const status = new Int32Array(1);
  check("wait4", processTable().wait4(pid, ptr(status), 0, null));
  return exitOf(pid, status[0] ?? 0);
}

/** The children of this process. Created once, by the composition root. */
export class Children implements Disposable {
  readonly #poller: Poller;
  readonly #reapsStrays: boolean;
  readonly #inheritance: Inheritance;
  readonly #entries = new Map<number, TrackedChild>();
  readonly #onSigchld = () => this.#reapAll();
  readonly #holds = new ActiveCount();

  constructor(options: ChildrenOptions) {
    this.#poller = options.poller;
    this.#reapsStrays = options.reapStrays;
    this.#inheritance = options.inheritance ?? plainInheritance;
    process.on("SIGCHLD", this.#onSigchld);
  }

  /** Spawns and waits; see {@link spawnProcess} for what is thrown. */
  spawn(options: SpawnOptions): Child {
    let pid: number;
    {
      using _lent = lendInheritance(this.#inheritance);
      pid = spawnProcess(options);
    }
    return this.#track(pid, { isAdopted: false });
  }

  /** Copies this process for one call and waits for it; see {@link copyProcess}. */
  copy(task: CopyTask, namespaces = 0): Child {
    const copy = copyProcess(task, namespaces);
    const child = this.#track(copy.pid, { isAdopted: false });
    void child.exited.then(() => copy[Symbol.dispose]());
    return child;
  }

  /**
   * Keeps dead strays unreaped until disposed, so that {@link adopt} finds them.
   * Take it before the process that leaves the orphan is spawned.
   */
  hold(): Disposable {
    const hold = this.#holds.enter();
    return {
      [Symbol.dispose]: () => {
        hold[Symbol.dispose]();
        if (!this.#holds.isActive) this.#reapAll();
      },
    };
  }

  /**
   * Takes responsibility for an orphan by pid, dead or alive. Needs a hold that is older than the
   * orphan, or the pid may have been reused. Throws ShimError `failedPrecondition` for a process that is
   * not ours to wait for, or has an owner: a pid that others name may be anybody's.
   */
  adopt(pid: number): Child {
    const status = new Int32Array(1);
    const isOwned = this.#entries.has(pid);
    const waited = isOwned ? -1 : processTable().wait4(pid, ptr(status), WNOHANG, null);
    if (waited < 0) {
      const why = isOwned ? "it is another one's already" : "it is not a child of this process";
      throw new ShimError("failedPrecondition", `Cannot adopt process ${pid}: ${why}`);
    }
    const exit = waited === pid ? exitOf(pid, status[0] ?? 0) : undefined;
    return this.#track(pid, { isAdopted: true, exit });
  }

  /**
   * Kills a process that a runtime has left and nobody has adopted, also while that runtime is still dying. No
   * other: none that is known here, none of a container, none that does not descend from this process.
   */
  killStray(pid: number): void {
    using pidfd = openPidfd(pid);
    if (!this.#isStray(pid)) return;
    if (pidfd === undefined) signalPid(pid, SIGKILL);
    else signalPidfd(pidfd.fd, SIGKILL);
  }

  #isStray(pid: number): boolean {
    if (this.#entries.has(pid)) return false;
    for (let at = pid; at > 1; ) {
      if (this.#entries.get(at)?.isAdopted) return false;
      const parent = Number(readStat(`/proc/${at}`)?.ppid ?? 0);
      if (parent === ownPid()) return true;
      at = parent;
    }
    return false;
  }

  /** Takes over a child of this process that {@link Child.snapshot} described; reaps nothing yet. */
  restore(state: ChildState): Child {
    assert(!this.#entries.has(state.pid), `process ${state.pid} has one owner`);
    const { promise, resolve } = Promise.withResolvers<Exit>();
    const pidfd = state.pidfd === undefined ? undefined : OwnedFd.restore(state.pidfd);
    const entry: TrackedChild = {
      pid: state.pid,
      pidfd,
      isAdopted: true,
      resolve,
      watch: undefined,
      exit: state.exit,
    };
    if (state.exit !== undefined) {
      resolve(state.exit);
    } else {
      this.#entries.set(state.pid, entry);
      this.#tryWatch(entry);
    }
    return childOf(entry, promise, () => this.#look(entry));
  }

  /** Reaps what died unnoticed while nobody listened for SIGCHLD. */
  reap(): void {
    this.#reapAll();
  }

  /** Adds to `inventory` the children that nothing in it accounts for, and expected orphans. */
  inspect(inventory: Inventory): void {
    for (const pid of this.#entries.keys()) {
      if (!inventory.knowsChild(pid)) inventory.addObstacle(`process ${pid} is waited for`);
    }
    if (this.#holds.isActive) inventory.addObstacle("an orphan is expected");
  }

  /** Stops watching; processes go on. */
  [Symbol.dispose](): void {
    process.off("SIGCHLD", this.#onSigchld);
    for (const entry of this.#entries.values()) this.#forget(entry);
    this.#entries.clear();
  }

  /** `exit`: how it has ended, if it has already been waited for. */
  #track(
    pid: number,
    { isAdopted, exit }: Pick<TrackedChild, "isAdopted"> & { readonly exit?: Exit | undefined },
  ): Child {
    const { promise, resolve } = Promise.withResolvers<Exit>();
    let pidfd: OwnedFd | undefined;
    let ended = exit;
    try {
      if (exit === undefined) pidfd = openPidfd(pid);
    } catch (error) {
      // ESRCH: nobody's zombie, so nobody's status either. With no descriptor to spare there is still SIGCHLD,
      // as on kernels without pidfds.
      if (hasCode(error, "ESRCH"))
        ended = { pid, status: UNKNOWN_STATUS, signal: 0, atMs: Date.now() };
    }
    const none = { watch: undefined, exit: undefined };
    const entry: TrackedChild = { pid, pidfd, isAdopted, resolve, ...none };
    this.#entries.set(pid, entry);
    if (ended !== undefined) {
      this.#finish(entry, ended);
    } else if (pidfd === undefined) {
      this.#reap(entry, false);
    } else {
      if (!this.#tryWatch(entry)) this.#reap(entry, false);
    }
    return childOf(entry, promise, () => this.#look(entry));
  }

  /** False where the kernel watches nothing more: the child is there all the same, and there is still SIGCHLD. */
  #tryWatch(entry: TrackedChild): boolean {
    try {
      this.#watch(entry);
      return true;
    } catch (error) {
      if (error instanceof SystemError) return false;
      throw error;
    }
  }

  #look(entry: TrackedChild): void {
    if (this.#entries.get(entry.pid) === entry) this.#reap(entry, hasDied(entry));
  }

  #watch(entry: TrackedChild): void {
    if (entry.pidfd === undefined) return;
    entry.watch = this.#poller.watch(entry.pidfd.fd, { readable: true }, () =>
      this.#reap(entry, true),
    );
  }

  /** Waits for one child. `isDead`: its pidfd said so. */
  #reap(entry: TrackedChild, isDead: boolean): void {
    const status = new Int32Array(1);
    const waited = processTable().wait4(entry.pid, ptr(status), WNOHANG, null);
    if (waited === entry.pid) {
      this.#finish(entry, exitOf(entry.pid, status[0] ?? 0));
    } else if (isDead && waited < 0 && errno() === ECHILD) {
      // Dead, but not a child of ours: somebody else has its status.
      this.#finish(entry, { pid: entry.pid, status: UNKNOWN_STATUS, signal: 0, atMs: Date.now() });
    }
  }

  #reapAll(): void {
    for (const entry of this.#entries.values()) {
      if (entry.watch === undefined) this.#reap(entry, false);
    }
    if (!this.#reapsStrays || this.#holds.isActive) return;
    const status = new Int32Array(1);
    for (;;) {
      const pid = processTable().wait4(-1, ptr(status), WNOHANG, null);
      if (pid === 0) return;
      if (pid < 0) {
        const number = errno();
        if (number === ECHILD) return;
        throw new SystemError("wait4", number);
      }
      const entry = this.#entries.get(pid);
      if (entry !== undefined) this.#finish(entry, exitOf(pid, status[0] ?? 0));
    }
  }

  #finish(entry: TrackedChild, exit: Exit): void {
    entry.exit = exit;
    this.#entries.delete(entry.pid);
    this.#forget(entry);
    entry.resolve(exit);
  }

  #forget(entry: TrackedChild): void {
    entry.watch?.[Symbol.dispose]();
    entry.pidfd?.[Symbol.dispose]();
  }
}

/** Decodes wait4(2)'s status word. */
function exitOf(pid: number, waitStatus: number): Exit {
  const signal = waitStatus & 0x7f;
  const status = signal === 0 ? (waitStatus >> 8) & 0xff : 128 + signal;
  return { pid, status, signal, atMs: Date.now() };
}
