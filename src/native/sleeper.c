/*
 * What a shim is while it has nothing to do: one poll(2) over everything that could concern it, and then
 * the shim again.
 *
 * The shim executes this program with a table in shared memory, whose descriptor the environment names
 * (WEDGE_SLEEP), and leaves every descriptor open that it needs. Nothing is read and nobody is waited for
 * here, so whatever happens is still there when the shim is back: an exit, a connection, a byte, a
 * signal. Everything is level-triggered, so nothing that happens at any instruction of either program is
 * missed. Signals are blocked; a signalfd in the table reports them.
 *
 * No libc: the whole program is a few pages. The layout of the table is that of `handoff/sleeper.ts`.
 */

#include "kernel.h"

struct pollfd {
  int fd;
  short events;
  short revents;
};

struct table {
  unsigned int magic;
  unsigned int count;
  /* The shim's program. */
  int program;
  /* Whether other users may look at this process: see `forbidDumps` of the shim. */
  int is_dumpable;
  /* The longest sleep; -1 is forever. */
  long seconds;
  long nanoseconds;
  /* After the last entry: where the program's file was, for when that no longer contains a program. */
  long path_bytes;
  struct pollfd fds[];
};

#define MAGIC 0x77656467u
#define PROT_READ_WRITE 3
#define MAP_SHARED 1
#define AT_EMPTY_PATH 0x1000
#define AT_FDCWD -100
#define EAGAIN 11
#define ENOMEM 12
#define ENFILE 23
#define ETXTBSY 26
#define P_ALL 0
#define WNOHANG 1
#define WEXITED 4
#define WNOWAIT 0x01000000
#define SIGCHLD 17
#define PR_SET_DUMPABLE 4
#define PR_SET_NAME 15
#define SIGINFO_INTS 32
#define RETRY_NANOSECONDS 100000000
#define CLONE_VFORK 0x4000
/* CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND, CLONE_THREAD */
#define LIKE_A_THREAD 0x10f00
/* As many threads as the engine begins with, and some to spare. */
#define THREADS 4

#if defined(__x86_64__)
enum { MMAP = 9, CLONE = 56, EXIT = 60, CHDIR = 80, PRCTL = 157, WAITID = 247, PPOLL = 271, EXECVEAT = 322 };
__asm__(".globl _start\n_start:\n  xor %ebp, %ebp\n  mov %rsp, %rdi\n  and $-16, %rsp\n  call sleeper\n");
#elif defined(__aarch64__)
enum { MMAP = 222, CLONE = 220, EXIT = 93, CHDIR = 49, PRCTL = 167, WAITID = 95, PPOLL = 73, EXECVEAT = 281 };
__asm__(".globl _start\n_start:\n  mov x29, xzr\n  mov x0, sp\n  bl sleeper\n");
#endif

/* The number in `NAME=number`, where `name` ends with the sign; -1 when the entry is another. */
static int number_of(const char *entry, const char *name) {
  int value = 0;
  while (*name)
    if (*entry++ != *name++) return -1;
  if (!*entry) return -1;
  for (; *entry; entry++) {
    if (*entry < '0' || *entry > '9' || value > 100000000) return -1;
    value = value * 10 + (*entry - '0');
  }
  return value;
}

static struct table *open_table(char **env) {
  struct table *table;
  int fd = -1;
  for (; *env && fd < 0; env++) fd = number_of(*env, "WEDGE_SLEEP=");
  if (fd < 0) return 0;
  /* One page is enough to learn how many there are. */
  table = (struct table *)call(MMAP, 0, 4096, PROT_READ_WRITE, MAP_SHARED, fd, 0);
  if (IS_ERROR(table) || table->magic != MAGIC) return 0;
  word size = sizeof(struct table) + table->count * sizeof(struct pollfd) + table->path_bytes;
  if (size <= 4096) return table;
  table = (struct table *)call(MMAP, 0, size, PROT_READ_WRITE, MAP_SHARED, fd, 0);
  return IS_ERROR(table) ? 0 : table;
}

/* Errors of executing a program that may pass in a moment. */
static int is_passing(long error) {
  return error == -EAGAIN || error == -ENOMEM || error == -ENFILE || error == -ETXTBSY;
}

/* Whether a child has died that nobody has waited for: some have no descriptor in the table. */
static int has_dead_child(void) {
  int info[SIGINFO_INTS];
  info[3] = 0;
  info[0] = 0;
  return call(WAITID, P_ALL, 0, (long)info, WNOHANG | WEXITED | WNOWAIT, 0, 0) == 0 && info[0] == SIGCHLD;
}

/*
 * Whether `count` more threads may be created now: the engine exits when it cannot have its own. Each of
 * these borrows our stack while we are suspended, and nobody waits for it: execve(2) goes on when it is gone.
 */
static int has_room(int count) {
  volatile int has = 0;
  if (count == 0) return 1;
  if (call(CLONE, LIKE_A_THREAD | CLONE_VFORK, 0, 0, 0, 0, 0) == 0) {
    has = has_room(count - 1);
    call(EXIT, 0, 0, 0, 0, 0, 0);
    __builtin_unreachable();
  }
  return has;
}

__attribute__((noreturn)) void sleeper(word *stack) {
  char **argv = (char **)(stack + 1);
  char **env = argv + stack[0] + 1;
  struct table *table = open_table(env);
  long *timeout;
  if (!table) {
    call(EXIT, 125, 0, 0, 0, 0, 0);
    __builtin_unreachable();
  }
  /* The name that the shim has in process lists, and as private as before. */
  call(PRCTL, PR_SET_NAME, (long)"containerd-shim", 0, 0, 0, 0);
  if (!table->is_dumpable) call(PRCTL, PR_SET_DUMPABLE, 0, 0, 0, 0, 0);
  timeout = table->seconds < 0 ? 0 : &table->seconds;
  if (!has_dead_child()) call(PPOLL, (long)table->fds, table->count, (long)timeout, 0, 0, 0);
  /* The shim's engine does not start in a directory that is gone, and its bundle may vanish at any time. */
  call(CHDIR, (long)"/", 0, 0, 0, 0, 0);
  for (;;) {
    long pause[2] = {0, RETRY_NANOSECONDS};
    long error = -EAGAIN;
    if (has_room(THREADS))
      error = call(EXECVEAT, table->program, (long)"", (long)argv, (long)env, AT_EMPTY_PATH, 0);
    /*
     * While nobody runs it, its file may be overwritten. What has taken its place may help, now or once
     * somebody has put it there.
     */
    if (!is_passing(error) && table->path_bytes > 0)
      call(EXECVEAT, AT_FDCWD, (long)(table->fds + table->count), (long)argv, (long)env, 0, 0);
    call(PPOLL, 0, 0, (long)pause, 0, 0, 0);
  }
}
