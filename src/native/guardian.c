/*
 * Looks after a shim that leaves its program for another one, until that one has restored it.
 *
 * A program that was executed cannot be left by a fault of its own: when it crashes or ends, the process
 * ends. So the shim's old program starts this one as its child, which traces it (ptrace(2)) across the
 * execve. When the new program is about to end, by a signal or by exit(2), or has not restored the shim in
 * time, the process is made to execute the old program again, with the document and every descriptor: pid,
 * children and connections stay. Whoever comes back is looked after in the same way.
 *
 * All is well when the shim has written to a pipe, or closed its end of it. Then, or when there is no shim
 * any more, this program ends, and the kernel lets go of the shim.
 *
 * No libc: the whole program is a few pages. The layout of the table is that of `handoff/guardian.ts`.
 */

#include "kernel.h"

#ifndef __x86_64__
#error "registers are known of x86-64 alone"
#endif

/* How this program is started: descriptors. */
#define PIPE 3
#define TABLE 4

struct table {
  /* 0 at first, then 1 for a shim that is traced, or an errno, negated. */
  int state;
  /* Of what follows, all is filled in before the shim leaves its program. */
  int size;
  /* How long a program may take, in milliseconds. */
  int limit;
  /* Descriptors in the shim: the program to go back to, and this table. */
  int program;
  int table;
  /* How many descriptors are handed over, words are in the command line, and entries in the environment. */
  int fds;
  int words;
  int entries;
  /* Where the text begins that tells the old program what happened; it may have so many bytes. */
  int reason;
  int reason_bytes;
  /* The signals that a program begins with blocked. */
  word blocked;
  /* The descriptors; then words and entries, each with a NUL at its end. */
  int fd[];
};

enum {
  READ = 0, OPEN = 2, CLOSE = 3, MMAP = 9, SIGPROCMASK = 14, PWRITE = 18, NANOSLEEP = 35, EXIT = 60, WAIT4 = 61,
  FCNTL = 72, CHDIR = 80, PTRACE = 101, GETPPID = 110, CLOCK_GETTIME = 228, EXIT_GROUP = 231, PPOLL = 271,
  SIGNALFD4 = 289, EXECVEAT = 322
};

enum {
  POKEDATA = 5, CONTINUE = 7, GETREGS = 12, SETREGS = 13, DETACH = 17, SYSCALL = 24, SETOPTIONS = 0x4200, SEIZE = 0x4206,
  INTERRUPT = 0x4207, LISTEN = 0x4208, SETSIGMASK = 0x420b
};
enum { TRACESYSGOOD = 1, TRACECLONE = 8, TRACEEXEC = 16 };
enum { EVENT_EXEC = 4, EVENT_STOP = 128, SYSCALL_STOP = 0x85 };

#define PROT_READ 1
#define PROT_WRITE 2
#define MAP_SHARED 1
#define MAP_PRIVATE 2
#define MAP_ANONYMOUS 0x20
#define F_SETFD 2
#define SIG_BLOCK 0
#define SIG_SETMASK 2
#define SIGINT 2
#define SIGILL 4
#define SIGTRAP 5
#define SIGABRT 6
#define SIGBUS 7
#define SIGFPE 8
#define SIGKILL 9
#define SIGSEGV 11
#define SIGTERM 15
#define SIGCHLD 17
#define SIGCONT 18
#define SIGTTOU 22
#define SIGURG 23
#define SIGWINCH 28
#define SIGSYS 31
#define SFD_FLAGS 02004000
#define WNOHANG 1
#define WALL 0x40000000
#define CLOCK_MONOTONIC 1
#define AT_EMPTY_PATH 0x1000
#define POLLIN 1
#define PAGE 4096
#define STACK_BYTES (1 << 20)
#define SIGINFO_BYTES 128
#define STATUS_BYTES 4096
#define NANOSECONDS 1000000000L
#define NANOSECONDS_PER_MILLISECOND 1000000L
/* Between two goings back: what a program fails for (no memory, no thread to be had) may pass. */
#define PAUSE_NANOSECONDS 200000000L
#define BIT(signal) (1UL << ((signal) - 1))

struct pollfd {
  int fd;
  short events, revents;
};

struct registers {
  word r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip, cs, eflags, rsp, ss;
  word fs_base, gs_base, ds, es, fs, gs;
};

/*
 * What the shim runs to go back: this section is copied over a page of the failed program, and entered with
 * the descriptor of the table and its size. It has a stack of its own, as the program's may be the trouble.
 */
__asm__(
    ".pushsection comeback, \"ax\"\n"
    "comeback_entry:\n"
    "  mov %rdi, %r12\n  mov %rsi, %r13\n"
    "  mov $9, %eax\n  xor %edi, %edi\n  mov $0x100000, %esi\n  mov $3, %edx\n"
    "  mov $0x22, %r10d\n  mov $-1, %r8\n  xor %r9d, %r9d\n  syscall\n"
    "  lea 0xffff0(%rax), %rsp\n"
    "  mov %r12, %rdi\n  mov %r13, %rsi\n  xor %ebp, %ebp\n  call come_back\n"
    ".popsection\n");
extern const char comeback_entry[];
extern const char __start_comeback[];
extern const char __stop_comeback[];

__attribute__((noreturn, used, section("comeback"))) void come_back(long fd, long size) {
  struct table *table = (struct table *)call(MMAP, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  if (!IS_ERROR(table)) {
    /* At the lower end of the stack. */
    const char *pointers[table->words + table->entries + 2];
    const char **next = pointers;
    char *text = (char *)(table->fd + table->fds);
    char root[2];
    root[0] = '/';
    root[1] = 0;
    for (int i = 0; i < table->words + table->entries; i++) {
      if (i == table->words) *next++ = 0;
      *next++ = text;
      while (*text++) {}
    }
    *next = 0;
    for (int i = 0; i < table->fds; i++) call(FCNTL, table->fd[i], F_SETFD, 0, 0, 0, 0);
    call(CHDIR, (long)root, 0, 0, 0, 0, 0);
    call(EXECVEAT, table->program, (long)(root + 1), (long)pointers, (long)(pointers + table->words + 1), AT_EMPTY_PATH, 0);
  }
  call(EXIT_GROUP, 125, 0, 0, 0, 0, 0);
  __builtin_unreachable();
}

/* The shim. */
static long shim;
/* A page of its present program that can be executed; 0 until the old one was left. */
static word page;
/* Whether it has been made to go back, and has not got there yet. */
static int is_returning;
/* Whether it has run out of time, and is being stopped for that. */
static int is_late;
/* Whether somebody has stopped it (SIGSTOP): that is no fault of its program. */
static int is_halted;
static int returns;
/* When a program must have restored the shim; 0: none runs that must. */
static long deadline;

static long now(void) {
  long time[2];
  call(CLOCK_GETTIME, CLOCK_MONOTONIC, (long)time, 0, 0, 0, 0);
  return time[0] * NANOSECONDS + time[1];
}

static long trace(long request, long thread, long data) {
  return call(PTRACE, request, thread, 0, data, 0, 0);
}

/* Lets a thread go on, and stops it again where that is of interest. */
static void resume(long thread, long signal) {
  trace(page && !is_returning ? SYSCALL : CONTINUE, thread, signal);
}

static struct table *map_table(void) {
  struct table *table = (struct table *)call(MMAP, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, TABLE, 0);
  if (IS_ERROR(table) || table->size <= PAGE) return table;
  return (struct table *)call(MMAP, 0, table->size, PROT_READ | PROT_WRITE, MAP_SHARED, TABLE, 0);
}

/* Writes a number, and returns where the text goes on. */
static char *write_number(char *at, long number) {
  char digits[20];
  int count = 0;
  do digits[count++] = '0' + number % 10;
  while (number /= 10);
  while (count) *at++ = digits[--count];
  return at;
}

static char *write_text(char *at, const char *text) {
  while (*text) *at++ = *text++;
  return at;
}

static void limit_time(const struct table *table) {
  deadline = now() + table->limit * NANOSECONDS_PER_MILLISECOND;
}

__attribute__((noreturn)) static void end(void) {
  call(EXIT_GROUP, 0, 0, 0, 0, 0, 0);
  __builtin_unreachable();
}

/* Whether the shim is restored, or has not left after all. */
static int is_dismissed(void) {
  struct pollfd pipe = {PIPE, POLLIN, 0};
  long timeout[2] = {0, 0};
  return call(PPOLL, (long)&pipe, 1, (long)timeout, 0, 0, 0) > 0;
}

/*
 * Makes the stopped `thread`, which was to get `signal`, take the shim back to the old program, for the
 * reason `before` number `after`.
 */
static void give_back(long thread, long signal, const char *before, long number, const char *after) {
  struct table *table = map_table();
  struct registers registers;
  word blocked = ~0UL;
  char *text;
  /* What has happened since is no business of the old program, which has lost its document by now. */
  if (is_dismissed()) {
    trace(DETACH, thread, signal);
    end();
  }
  if (IS_ERROR(table)) return resume(thread, signal);
  is_returning = 1;
  is_late = 0;
  text = write_text((char *)table + table->reason, before);
  *write_text(write_number(text, number), after) = 0;
  if (returns++) {
    long pause[2] = {0, PAUSE_NANOSECONDS};
    call(NANOSLEEP, (long)pause, 0, 0, 0, 0, 0);
  }
  for (const char *from = __start_comeback; from < __stop_comeback; from += sizeof(word))
    call(PTRACE, POKEDATA, thread, page + (from - __start_comeback), *(const word *)from, 0, 0);
  trace(GETREGS, thread, (long)&registers);
  /* No system call to be carried out, or begun again. */
  registers.orig_rax = -1;
  registers.rip = page + (comeback_entry - __start_comeback);
  registers.rdi = table->table;
  registers.rsi = table->size;
  registers.eflags = 0x202;
  trace(SETREGS, thread, (long)&registers);
  call(PTRACE, SETSIGMASK, thread, sizeof(blocked), (long)&blocked, 0, 0);
  deadline = 0;
  resume(thread, 0);
}

/* The signals in a line of /proc/PID/status, which is hexadecimal. */
static word signals_in(const char *status, const char *name) {
  word signals = 0;
  for (; *status; status++) {
    const char *at = status;
    const char *with = name;
    while (*with && *at == *with) at++, with++;
    if (*with) continue;
    for (; *at > ' '; at++) signals = signals << 4 | (word)(*at <= '9' ? *at - '0' : *at - 'a' + 10);
    return signals;
  }
  return 0;
}

/*
 * Whether this signal ends the shim, and does not ask for its end: that of a crash, or one that is neither
 * caught nor ignored. Whoever catches a crash only tells of it, while other threads go on.
 */
static int is_fatal(int signal) {
  const word crashes = BIT(SIGILL) | BIT(SIGABRT) | BIT(SIGBUS) | BIT(SIGFPE) | BIT(SIGSEGV) | BIT(SIGSYS);
  const word harmless = BIT(SIGCHLD) | BIT(SIGCONT) | BIT(SIGURG) | BIT(SIGWINCH);
  const word asking = BIT(SIGINT) | BIT(SIGTERM) | BIT(SIGKILL);
  char path[40];
  char status[STATUS_BYTES];
  long fd, count;
  if (crashes & BIT(signal)) return 1;
  if ((harmless | asking) & BIT(signal)) return 0;
  if (signal > SIGCONT && signal <= SIGTTOU) return 0;
  *write_text(write_number(write_text(path, "/proc/"), shim), "/status") = 0;
  fd = call(OPEN, (long)path, 0, 0, 0, 0, 0);
  if (fd < 0) return 1;
  count = call(READ, fd, (long)status, STATUS_BYTES - 1, 0, 0, 0);
  call(CLOSE, fd, 0, 0, 0, 0, 0);
  status[count > 0 ? count : 0] = 0;
  return !((signals_in(status, "SigCgt:\t") | signals_in(status, "SigIgn:\t")) & BIT(signal));
}

/* A program has been executed: the first time, and each time that the shim has gone back. */
static void begin_program(void) {
  struct table *table = map_table();
  struct registers registers;
  if (!IS_ERROR(table)) {
    trace(SETOPTIONS, shim, TRACEEXEC | TRACESYSGOOD | TRACECLONE);
    trace(GETREGS, shim, (long)&registers);
    page = registers.rip & ~(word)(PAGE - 1);
    /* Written by a thread while another one crashed. */
    if (is_returning && is_dismissed()) call(READ, PIPE, (long)&registers, 1, 0, 0, 0);
    if (is_returning) call(PTRACE, SETSIGMASK, shim, sizeof(word), (long)&table->blocked, 0, 0);
    is_returning = 0;
    limit_time(table);
  }
  resume(shim, 0);
}

/* Whether the thread is about to end the process; it is stopped at the beginning or end of a system call. */
static int is_ending(long thread, long *status) {
  struct registers registers;
  if (trace(GETREGS, thread, (long)&registers) < 0) return 0;
  *status = registers.rdi & 0xff;
  return registers.orig_rax == EXIT_GROUP || (registers.orig_rax == EXIT && thread == shim);
}

static void look_at(long thread, int state) {
  int signal = state >> 8 & 0xff;
  int event = state >> 16;
  long status;
  if (event == EVENT_EXEC) return begin_program();
  if (event == EVENT_STOP && signal != SIGTRAP) {
    is_halted = 1;
    trace(LISTEN, thread, 0);
    return;
  }
  if (is_halted) {
    is_halted = 0;
    deadline = deadline ? now() + map_table()->limit * NANOSECONDS_PER_MILLISECOND : 0;
  }
  /* Any stop will do: it takes the place of the one that was asked for. */
  if (is_late && thread == shim)
    return give_back(thread, 0, "it had not restored the shim after ", map_table()->limit, " ms");
  if (event) return resume(thread, 0);
  /* Only the thread that goes back goes on; the others end when it has executed the old program. */
  if (is_returning) return signal == SYSCALL_STOP ? (void)0 : resume(thread, 0);
  if (signal == SYSCALL_STOP) {
    if (page && is_ending(thread, &status))
      return give_back(thread, 0, "it ended with status ", status, " before it had restored the shim");
    return resume(thread, 0);
  }
  if (page && is_fatal(signal))
    return give_back(thread, signal, "signal ", signal, " ended it before it had restored the shim");
  resume(thread, signal);
}

/* Looks at all that have stopped; ends when there is no shim any more. */
static void look_at_all(void) {
  int state;
  for (;;) {
    long thread = call(WAIT4, -1, (long)&state, WNOHANG | WALL, 0, 0, 0);
    if (thread == 0) return;
    if (thread < 0) end();
    if ((state & 0xff) == 0x7f) look_at(thread, state);
    else if (thread == shim) end();
  }
}

__attribute__((noreturn, used)) static void guardian(void) {
  struct pollfd watched[2] = {{PIPE, POLLIN, 0}, {0, POLLIN, 0}};
  word signals = BIT(SIGCHLD);
  char info[SIGINFO_BYTES];
  int state;
  shim = call(GETPPID, 0, 0, 0, 0, 0, 0);
  call(SIGPROCMASK, SIG_BLOCK, (long)&signals, 0, sizeof(signals), 0, 0);
  watched[1].fd = call(SIGNALFD4, -1, (long)&signals, sizeof(signals), SFD_FLAGS, 0, 0);
  state = call(PTRACE, SEIZE, shim, 0, TRACEEXEC | TRACESYSGOOD, 0, 0);
  if (state == 0) state = 1;
  call(PWRITE, TABLE, (long)&state, sizeof(state), 0, 0, 0);
  if (state < 0) end();
  for (;;) {
    long left = deadline && !is_halted ? deadline - now() : 0;
    long timeout[2] = {left > 0 ? left / NANOSECONDS : 0, left > 0 ? left % NANOSECONDS : 0};
    call(PPOLL, (long)watched, 2, deadline && !is_halted ? (long)timeout : 0, 0, 0, 0);
    while (call(READ, watched[1].fd, (long)info, SIGINFO_BYTES, 0, 0, 0) > 0) {}
    look_at_all();
    if (!is_returning && is_dismissed()) end();
    if (deadline && !is_halted && deadline <= now()) {
      is_late = 1;
      deadline = 0;
      trace(INTERRUPT, shim, 0);
    }
  }
}

__asm__(".globl _start\n_start:\n  xor %ebp, %ebp\n  and $-16, %rsp\n  call guardian\n");
