/**
 * The table of libc functions: the only file that calls `dlopen`.
 *
 * Functions are grouped by subject. Binding one costs about 10 microseconds, and `start`
 * needs few of them, so each group is bound on first use.
 */

import { dlopen, type FFIFunction, type Library } from "bun:ffi";

const LIBRARY = "libc.so.6";

const groups: (() => unknown)[] = [];

/** Binds `functions` when first called and returns the same table ever after. */
function group<T extends Record<string, FFIFunction>>(functions: T): () => Library<T>["symbols"] {
  let symbols: Library<T>["symbols"] | undefined;
  const table = () => {
    symbols ??= dlopen(LIBRARY, functions).symbols;
    return symbols;
  };
  groups.push(table);
  return table;
}

/** Binds everything now; throws an Error that names what this libc lacks. */
export function bindAll(): void {
  for (const table of groups) table();
}

/** errno(3). */
export const errnoTable = group({
  __errno_location: { args: [], returns: "ptr" },
});

/** Descriptors and files. */
export const fileTable = group({
  open: { args: ["ptr", "i32", "u32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  read: { args: ["i32", "ptr", "u64"], returns: "i64" },
  write: { args: ["i32", "ptr", "u64"], returns: "i64" },
  memfd_create: { args: ["ptr", "u32"], returns: "i32" },
  pipe2: { args: ["ptr", "i32"], returns: "i32" },
  mkfifo: { args: ["ptr", "u32"], returns: "i32" },
  dup2: { args: ["i32", "i32"], returns: "i32" },
  fcntl: { args: ["i32", "i32", "i64"], returns: "i32" },
  ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" },
  splice: { args: ["i32", "ptr", "i32", "ptr", "u64", "u32"], returns: "i64" },
});

/** Readiness. */
export const pollTable = group({
  epoll_create1: { args: ["i32"], returns: "i32" },
  epoll_ctl: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" },
  epoll_wait: { args: ["i32", "ptr", "i32", "i32"], returns: "i32" },
  poll: { args: ["ptr", "u64", "i32"], returns: "i32" },
});

/** Waiting awake. */
export const waitTable = group({
  sched_yield: { args: [], returns: "i32" },
});

/** Descriptors that report events: eventfd(2), inotify(7). */
export const eventTable = group({
  eventfd: { args: ["u32", "i32"], returns: "i32" },
  signalfd: { args: ["i32", "ptr", "i32"], returns: "i32" },
  inotify_init1: { args: ["i32"], returns: "i32" },
  inotify_add_watch: { args: ["i32", "ptr", "u32"], returns: "i32" },
});

/** Processes: spawn, wait, signal, attributes. */
export const processTable = group({
  posix_spawn: { args: ["ptr", "ptr", "ptr", "ptr", "ptr", "ptr"], returns: "i32" },
  posix_spawn_file_actions_init: { args: ["ptr"], returns: "i32" },
  posix_spawn_file_actions_destroy: { args: ["ptr"], returns: "i32" },
  posix_spawn_file_actions_adddup2: { args: ["ptr", "i32", "i32"], returns: "i32" },
  posix_spawn_file_actions_addopen: { args: ["ptr", "i32", "ptr", "i32", "u32"], returns: "i32" },
  posix_spawn_file_actions_addchdir_np: { args: ["ptr", "ptr"], returns: "i32" },
  posix_spawn_file_actions_addclosefrom_np: { args: ["ptr", "i32"], returns: "i32" },
  posix_spawnattr_init: { args: ["ptr"], returns: "i32" },
  posix_spawnattr_destroy: { args: ["ptr"], returns: "i32" },
  posix_spawnattr_setflags: { args: ["ptr", "i16"], returns: "i32" },
  posix_spawnattr_setsigmask: { args: ["ptr", "ptr"], returns: "i32" },
  posix_spawnattr_setsigdefault: { args: ["ptr", "ptr"], returns: "i32" },
  wait4: { args: ["i32", "ptr", "i32", "ptr"], returns: "i32" },
  kill: { args: ["i32", "i32"], returns: "i32" },
  syscall: { args: ["i64", "i64", "i64", "i64", "i64", "i64"], returns: "i64" },
});

/** Copies of this process that run one libc function; some share its memory. */
export const copyTable = group({
  clone: { args: ["ptr", "ptr", "i32", "ptr", "ptr", "ptr", "ptr"], returns: "i32" },
  dlsym: { args: ["ptr", "ptr"], returns: "ptr" },
});

/** What a process asks of the kernel about itself. */
export const selfTable = group({
  getpid: { args: [], returns: "i32" },
  sigaltstack: { args: ["ptr", "ptr"], returns: "i32" },
  mmap: { args: ["ptr", "u64", "i32", "i32", "i32", "i64"], returns: "ptr" },
  munmap: { args: ["ptr", "u64"], returns: "i32" },
  mprotect: { args: ["ptr", "u64", "i32"], returns: "i32" },
  prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
  setpgid: { args: ["i32", "i32"], returns: "i32" },
  fexecve: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  signal: { args: ["i32", "i64"], returns: "i64" },
  pthread_sigmask: { args: ["i32", "ptr", "ptr"], returns: "i32" },
});

/** Time. */
export const clockTable = group({
  clock_gettime: { args: ["i32", "ptr"], returns: "i32" },
});

/** Mounts: the classic calls, what they need of the working directory, and the newer calls by number. */
export const mountTable = group({
  mount: { args: ["ptr", "ptr", "ptr", "u64", "ptr"], returns: "i32" },
  umount2: { args: ["ptr", "i32"], returns: "i32" },
  chdir: { args: ["ptr"], returns: "i32" },
  fchdir: { args: ["i32"], returns: "i32" },
  sysconf: { args: ["i32"], returns: "i64" },
  syscall: { args: ["i64", "i64", "i64", "i64", "i64", "i64"], returns: "i64" },
});

/** Unix sockets. */
export const socketTable = group({
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
  listen: { args: ["i32", "i32"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
  accept4: { args: ["i32", "ptr", "ptr", "i32"], returns: "i32" },
  recvmsg: { args: ["i32", "ptr", "i32"], returns: "i64" },
});

/** Advisory locks. */
export const lockTable = group({
  flock: { args: ["i32", "i32"], returns: "i32" },
});

/** Limits of this process. */
export const limitTable = group({
  getrlimit: { args: ["i32", "ptr"], returns: "i32" },
});
