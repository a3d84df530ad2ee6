/*
 * Looks after a shim that leaves its program for another one, until that one has restored it.
 *
 * A failed program cannot hand the process back: when it crashes or exits, the process ends. So the shim's
 * old program starts this one as its child, which traces it (ptrace(2)) across the execve. When the new
 * program is about to end, by a signal or by exit(2), or has not restored the shim in time, the process is
 * made to execute the old program again, with the document and every descriptor: pid, children and
 * connections stay. A program that comes back is looked after in the same way.
 *
 * All is well when the shim has written to a pipe, or closed its end of it. Then, or when the shim is gone,
 * this program exits, and the kernel detaches it from the shim.
 *
 * No libc: the whole program is a few pages.
 */

#include "comeback.h"

/* How this program is started: descriptors. */
#define PIPE 3
#define TABLE 4

enum {
  READ = 0, OPEN = 2, CLOSE = 3, SIGPROCMASK = 14, NANOSLEEP = 35, EXIT = 60, WAIT4 = 61, PTRACE = 101, GETPPID = 110,
  PRCTL = 157, CLOCK_GETTIME = 228, PPOLL = 271, SIGNALFD4 = 289
};

enum {
  POKEDATA = 5, CONTINUE = 7, GETREGS = 12, SETREGS = 13, DETACH = 17, SYSCALL = 24, SETOPTIONS = 0x4200, SEIZE = 0x4206,
  INTERRUPT = 0x4207, LISTEN = 0x4208, SETSIGMASK = 0x420b
};
enum { TRACESYSGOOD = 1, TRACECLONE = 8, TRACEEXEC = 16 };
enum { EVENT_EXEC = 4, EVENT_STOP = 128, SYSCALL_STOP = 0x85 };

#define MAP_SHARED 1
#define PR_SET_DUMPABLE 4
#define PR_SET_NAME 15
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
#define POLLIN 1
#define PAGE 4096
/* More than any command line and environment: it may be larger than the file. */
#define TABLE_BYTES_MAX (16 << 20)
#define SIGINFO_BYTES 128
#define STATUS_BYTES 4096
#define STOPS_MAX 128
#define NANOSECONDS 1000000000L
#define NANOSECONDS_PER_MILLISECOND 1000000L
/* Between two returns: what a program fails for (no memory, no thread available) may pass. */
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

/* The shim. */
static long shim;
/* A page of its present program that can be executed; 0 until the old one was left. */
static word page;
/* The thread that takes it back and has not got there yet; 0: none. The others stay where they stop. */
static long returning;
/* Whether it has run out of time, and is being stopped for that. */
static int is_late;
/* Whether somebody has stopped it (SIGSTOP): its program is not to blame for that. */
static int is_halted;
static int returns;
/* When a program must have restored the shim; 0: no such program runs. */
static long deadline;
static struct table *table;

static long now(void) {
  long time[2];
  call(CLOCK_GETTIME, CLOCK_MONOTONIC, (long)time, 0, 0, 0, 0);
  return time[0] * NANOSECONDS + time[1];
}

static long trace(long request, long thread, long data) {
  return call(PTRACE, request, thread, 0, data, 0, 0);
}

/* Lets a thread continue, to stop again where that is of interest. */
static void resume(long thread, long signal) {
  trace(page && !returning ? SYSCALL : CONTINUE, thread, signal);
}

/* Writes a number, and returns where the text continues. */
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

static void limit_time(void) {
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
  struct registers registers;
  word blocked = ~0UL;
  char *text;
  /* What has happened since does not concern the old program, which has lost its document by now. */
  if (is_dismissed()) {
    trace(DETACH, thread, signal);
    end();
  }
  returning = thread;
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
  /* No system call is to be carried out, or restarted. */
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
 * Whether this signal kills the shim, and is not a request to end: that of a crash, or one that is neither
 * caught nor ignored. A program that catches a crash only reports it, while other threads go on.
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

/* A program has been executed: the first one, one that the shim has gone back to, or by a program itself. */
static void begin_program(void) {
  struct registers registers;
  trace(SETOPTIONS, shim, TRACEEXEC | TRACESYSGOOD | TRACECLONE);
  trace(GETREGS, shim, (long)&registers);
  /* A program that keeps executing others gets no more time for that. */
  if (!page || returning) limit_time();
  page = registers.rip & ~(word)(PAGE - 1);
  /* Written by one thread while another crashed. */
  if (returning && is_dismissed()) call(READ, PIPE, (long)&registers, 1, 0, 0, 0);
  if (returning) call(PTRACE, SETSIGMASK, shim, sizeof(word), (long)&table->blocked, 0, 0);
  returning = 0;
  is_halted = 0;
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
  /* It could dismiss us and use what was handed over; it ends when the old program is executed. */
  if (returning && thread != returning) return;
  if (event == EVENT_STOP && signal != SIGTRAP) {
    is_halted = 1;
    trace(LISTEN, thread, 0);
    return;
  }
  if (is_halted) {
    is_halted = 0;
    if (deadline) limit_time();
  }
  /* Any stop will do: it takes the place of the one that was asked for. */
  if (is_late && thread == shim)
    return give_back(thread, 0, "it had not restored the shim after ", table->limit, " ms");
  if (event) return resume(thread, 0);
  if (signal == SYSCALL_STOP) {
    if (page && is_ending(thread, &status))
      return give_back(thread, 0, "it ended with status ", status, " before it had restored the shim");
    return resume(thread, 0);
  }
  /* On the way back nothing is delivered except what cannot be blocked, and a fault of that way, which ends it. */
  if (page && !returning && is_fatal(signal))
    return give_back(thread, signal, "signal ", signal, " ended it before it had restored the shim");
  resume(thread, signal);
}

/* A thread that has stopped, as wait(2) reports it. */
struct stop {
  long thread;
  int state;
};

/* Whether it is to get a signal. */
static int is_signal(const struct stop *stop) {
  return stop->state >> 16 == 0 && (stop->state >> 8 & 0xff) != SYSCALL_STOP;
}

/* Those that have stopped by now; exits when there is no shim any more. */
static int find_stops(struct stop *stops) {
  int count = 0;
  while (count < STOPS_MAX) {
    int state;
    long thread = call(WAIT4, -1, (long)&state, WNOHANG | WALL, 0, 0, 0);
    if (thread == 0) break;
    if (thread < 0) end();
    if ((state & 0xff) != 0x7f) {
      if (thread == shim) end();
      continue;
    }
    /* There are no other threads any more. */
    if (state >> 16 == EVENT_EXEC) count = 0;
    stops[count++] = (struct stop){thread, state};
  }
  return count;
}

/* Looks at all that have stopped. A crash first: no thread that could do harm after it continues before that. */
static void look_at_all(void) {
  struct stop stops[STOPS_MAX];
  int count;
  while ((count = find_stops(stops)) > 0) {
    for (int i = 0; i < count; i++)
      if (is_signal(&stops[i])) look_at(stops[i].thread, stops[i].state);
    for (int i = 0; i < count; i++)
      if (!is_signal(&stops[i])) look_at(stops[i].thread, stops[i].state);
  }
}

__attribute__((noreturn, used)) static void guardian(void) {
  struct pollfd watched[2] = {{PIPE, POLLIN, 0}, {0, POLLIN, 0}};
  word signals = BIT(SIGCHLD);
  char info[SIGINFO_BYTES];
  int state;
  /* Otherwise it would be named after the number by which it was executed. */
  call(PRCTL, PR_SET_NAME, (long)"wedge-guardian", 0, 0, 0, 0);
  /* Whoever may trace this process controls the shim. */
  call(PRCTL, PR_SET_DUMPABLE, 0, 0, 0, 0, 0);
  shim = call(GETPPID, 0, 0, 0, 0, 0, 0);
  /* The parent may be another one by now: then the shim's end of the pipe was closed before. */
  if (is_dismissed()) end();
  call(SIGPROCMASK, SIG_BLOCK, (long)&signals, 0, sizeof(signals), 0, 0);
  watched[1].fd = call(SIGNALFD4, -1, (long)&signals, sizeof(signals), SFD_FLAGS, 0, 0);
  table = (struct table *)call(MMAP, 0, TABLE_BYTES_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, TABLE, 0);
  if (IS_ERROR(table)) end();
  state = call(PTRACE, SEIZE, shim, 0, TRACEEXEC | TRACESYSGOOD, 0, 0);
  table->state = state == 0 ? 1 : state;
  if (state < 0) end();
  for (;;) {
    long left = deadline && !is_halted ? deadline - now() : 0;
    long timeout[2] = {left > 0 ? left / NANOSECONDS : 0, left > 0 ? left % NANOSECONDS : 0};
    call(PPOLL, (long)watched, 2, deadline && !is_halted ? (long)timeout : 0, 0, 0, 0);
    while (call(READ, watched[1].fd, (long)info, SIGINFO_BYTES, 0, 0, 0) > 0) {}
    look_at_all();
    if (!returning && is_dismissed()) end();
    if (deadline && !is_halted && deadline <= now()) {
      is_late = 1;
      deadline = 0;
      trace(INTERRUPT, shim, 0);
    }
  }
}

__asm__(".globl _start\n_start:\n  xor %ebp, %ebp\n  and $-16, %rsp\n  call guardian\n");
