/*
 * What the executable does before its engine: the two short commands of a container's life, without the
 * 6 ms and the 30 MB that the engine takes to start.
 *
 * This code is the entry point of the executable (scripts/executable.ts joins the two). It looks at the
 * command line, and in every case but these leaves everything as it is and goes on to the engine (`loader.h`):
 *
 * - `start`: asks a spare (`command/spare/spare.ts`) to be the shim, if there is one. Otherwise it executes the
 *   executable again as the daemon-to-be (`command/start/become-daemon.ts`). Either has the manager's own stdin, stdout
 *   and stderr, and the launcher exits when that has given its answer or has exited.
 * - `delete` of a task that its shim has deleted itself: passes on the answer that the shim has left in
 *   the bundle (`bundle/deletion-record.ts`).
 *
 * What fails here is left to the engine, which tries again and can report errors (`command/start/launch-daemon.ts`,
 * `command/delete/delete.ts`). No libc and no writable data: it may be loaded anywhere.
 *
 * From the build, besides those in `loader.h`: ENGINE_SETTINGS, DROPPED_NAMES and DROPPED_PREFIXES (lists of strings,
 * `command/invocation/daemon-settings.ts`), LAUNCHER_VARIABLE and HUGE_PAGES_ENTRY (`command/invocation/environment.ts`),
 * DELETION_FILE and DELETION_BYTES_MAX (`bundle/deletion-record.ts`), OBSTACLES (files), DEBUG_NAME, VALUE_FLAGS
 * (`command/invocation/invocation.ts`), HEEDED_SIGNALS, SPARES_DIRECTORY, SPARE_READY, SPARE_REFUSES and
 * SPARE_WORDS_BYTES (`command/spare/spare.ts`).
 */

#include "kernel.h"

#define AT_FDCWD -100
#define O_RDONLY 0
#define O_NONBLOCK 04000
#define O_NOFOLLOW_X86 0400000
#define O_NOFOLLOW_ARM 0100000
#define O_CLOEXEC 02000000
#define F_OK 0
#define CLONE_VM 0x100
#define CLONE_VFORK 0x4000
#define SIGCHLD 17
#define SIGNALS 64
#define SIG_SETMASK 2
#define PR_SET_THP_DISABLE 41
#define PR_GET_THP_DISABLE 42
#define EINTR 4
#define CHANNEL 3
#define PATH_BYTES 4096
#define ENTRIES_MAX 4096
#define EXIT_FAILURE 1
#define KIN_DIGITS 16

#if defined(__x86_64__)
#define O_NOFOLLOW O_NOFOLLOW_X86
enum {
  READ = 0, WRITE = 1, CLOSE = 3, RT_SIGACTION = 13, RT_SIGPROCMASK = 14, CLONE = 56, EXECVE = 59, EXIT = 60, WAIT4 = 61,
  SETPGID = 109, GETPPID = 110, PRCTL = 157, OPENAT = 257, READLINKAT = 267, FACCESSAT = 269, DUP3 = 292,
  PIPE2 = 293, CLOSE_RANGE = 436
};
__asm__(".globl launcher_entry\nlauncher_entry:\n"
        /* What follows finds everything as if nothing had run before it; rdx is what a loader leaves. */
        "  mov %rdx, %rbx\n  mov %rsp, %rbp\n  mov %rsp, %rdi\n  mov %rdx, %rsi\n  call launch\n"
        "  mov %rbp, %rsp\n  mov %rbx, %rdx\n  xor %ebp, %ebp\n  jmp *%rax\n");
#elif defined(__aarch64__)
#define O_NOFOLLOW O_NOFOLLOW_ARM
enum {
  READ = 63, WRITE = 64, CLOSE = 57, RT_SIGACTION = 134, RT_SIGPROCMASK = 135, CLONE = 220, EXECVE = 221, EXIT = 93,
  WAIT4 = 260, SETPGID = 154, GETPPID = 173, PRCTL = 167, OPENAT = 56, READLINKAT = 78, FACCESSAT = 48, DUP3 = 24,
  PIPE2 = 59, CLOSE_RANGE = 436
};
__asm__(".globl launcher_entry\nlauncher_entry:\n"
        "  mov x19, x0\n  mov x20, sp\n  mov x1, x0\n  mov x0, sp\n  bl launch\n"
        "  mov sp, x20\n  mov x16, x0\n  mov x0, x19\n  mov x29, xzr\n  mov x30, xzr\n  br x16\n");
#endif

__attribute__((noreturn)) static void leave(long status) {
  for (;;) call(EXIT, status, 0, 0, 0, 0, 0);
}

static long length_of(const char *text) {
  long length = 0;
  while (text[length]) length++;
  return length;
}

static int is_same(const char *one, const char *other) {
  while (*one && *one == *other) one++, other++;
  return *one == *other;
}

/* Whether `text` begins with `prefix`. */
static int begins_with(const char *text, const char *prefix) {
  while (*prefix)
    if (*text++ != *prefix++) return 0;
  return 1;
}

/* Whether an entry of the environment has that name. */
static int is_named(const char *entry, const char *name) {
  return begins_with(entry, name) && entry[length_of(name)] == '=';
}

/* Whether a word of `list` (each ends with a NUL, the list with an empty one) is `text`. */
static int is_listed(const char *list, const char *text) {
  for (; *list; list += length_of(list) + 1)
    if (is_same(list, text)) return 1;
  return 0;
}

/* Puts `directory`/`file` into `path`; 0 when there is no room. */
static int join(char *path, const char *directory, const char *file) {
  long at = 0;
  for (const char *part = directory; *part; part++) {
    if (at >= PATH_BYTES - 64) return 0;
    path[at++] = *part;
  }
  path[at++] = '/';
  do path[at++] = *file;
  while (*file++);
  return 1;
}

/* Exits as a `start` whose shim was killed. */
__attribute__((noreturn)) static void leave_killed(void) {
  static const char message[] = "containerd-shim-wedge-v2: the shim was killed while it started; see the kernel's log";
  call(WRITE, 2, (long)message, sizeof(message) - 1, 0, 0, 0);
  leave(EXIT_FAILURE);
}

#include "kin.h"
/* After it. */
#include "hire.h"

/* The command line, as Go's flag package reads it and `command/invocation/flags.ts` after it. */
struct command {
  char **argv;
  /* Where the action is; 0 when there is none, or it does not concern us. */
  long action;
  /* Position of `-publish-binary`, which a daemon has no use for; 0 when it is not there. */
  long publish_binary;
  const char *bundle;
};

static void parse(struct command *command) {
  char **argv = command->argv;
  command->action = command->publish_binary = 0;
  command->bundle = 0;
  for (long at = 1; argv[at]; at++) {
    const char *word = argv[at];
    if (*word != '-') {
      command->action = at;
      return;
    }
    word += word[1] == '-' ? 2 : 1;
    if (is_same(word, "debug")) continue;
    /* What containerd does not say, the engine understands, or refuses. */
    if (!is_listed(VALUE_FLAGS, word) || !argv[at + 1]) return;
    if (is_same(word, "publish-binary")) command->publish_binary = at;
    if (is_same(word, "bundle")) command->bundle = argv[at + 1];
    at++;
  }
}

#include "loader.h"

static int is_debug_command(const char *name) {
  const char *base = name;
  for (; *name; name++)
    if (*name == '/') base = name + 1;
  return is_same(base, DEBUG_NAME);
}

/* `delete`, if there is nothing left to do but to answer; returns in every other case. */
static void delete_deleted(const char *bundle) {
  char path[PATH_BYTES];
  char answer[DELETION_BYTES_MAX];
  if (!bundle || *bundle != '/') return;
  /* The shim serves, or died on the way out, or has left events: there is something to do. */
  for (const char *file = OBSTACLES; *file; file += length_of(file) + 1)
    if (!join(path, bundle, file) || call(FACCESSAT, AT_FDCWD, (long)path, F_OK, 0, 0, 0) == 0) return;
  if (!join(path, bundle, DELETION_FILE)) return;
  long file = call(OPENAT, AT_FDCWD, (long)path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC, 0, 0, 0);
  if (IS_ERROR(file)) return;
  long length = call(READ, file, (long)answer, sizeof(answer), 0, 0, 0);
  call(CLOSE, file, 0, 0, 0, 0, 0);
  if (length <= 0 || length == sizeof(answer)) return;
  if (call(WRITE, 1, (long)answer, length, 0, 0, 0) == length) leave(0);
}

/*
 * Leaves only the absolute directories in an LD_LIBRARY_PATH; 0 when there are none. Any other would be the
 * bundle for a daemon, and there always is one: containerd writes its own directory and a colon.
 */
static int keep_absolute(char *entry) {
  char *start = entry + sizeof("LD_LIBRARY_PATH");
  char *end = start;
  for (char *from = start; *from;) {
    int is_kept = *from == '/';
    if (is_kept && end != start) *end++ = ':';
    for (; *from && *from != ':' && *from != ';'; from++)
      if (is_kept) *end++ = *from;
    if (*from) from++;
  }
  *end = 0;
  return end != start;
}

static int is_dropped(const char *entry) {
  for (const char *name = DROPPED_NAMES; *name; name += length_of(name) + 1)
    if (is_named(entry, name)) return 1;
  for (const char *prefix = DROPPED_PREFIXES; *prefix; prefix += length_of(prefix) + 1)
    if (begins_with(entry, prefix)) return 1;
  return 0;
}

/* Who launches a daemon, in words: `LAUNCHER_VARIABLE=CHANNEL:manager:kin`, and parts of it. */
struct launcher {
  char variable[sizeof(LAUNCHER_VARIABLE) + 64];
  /* From the manager on. */
  const char *manager;
  /* Of KIN_DIGITS; empty where it cannot be determined. */
  const char *kin;
};

static void describe(struct launcher *launcher, long manager, word kin) {
  char digits[20];
  int count = 0;
  char *text = launcher->variable;
  for (const char *from = LAUNCHER_VARIABLE "=3:"; *from;) *text++ = *from++;
  launcher->manager = text;
  do digits[count++] = '0' + manager % 10;
  while (manager /= 10);
  while (count) *text++ = digits[--count];
  *text++ = ':';
  launcher->kin = text;
  for (int shift = 4 * (KIN_DIGITS - 1); kin && shift >= 0; shift -= 4) *text++ = "0123456789abcdef"[kin >> shift & 15];
  *text = 0;
}

/* In memory shared with the launcher until it executes the engine, or reports in `has_failed` that it cannot. */
__attribute__((noreturn, always_inline)) static inline void become_daemon(const char *path, char **argv, char **env,
                                                                          int channel, volatile int *has_failed) {
  word blocked = HEEDED_SIGNALS;
  long defaults[4] = {0, 0, 0, 0};
  for (long number = 1; number <= SIGNALS; number++) call(RT_SIGACTION, number, (long)defaults, 0, sizeof(word), 0, 0);
  call(RT_SIGPROCMASK, SIG_SETMASK, (long)&blocked, 0, sizeof(blocked), 0, 0);
  call(SETPGID, 0, 0, 0, 0, 0, 0);
  /* Open are only those that are meant to be: 0, 1, 2 and the channel. */
  call(DUP3, channel, CHANNEL, 0, 0, 0, 0);
  if (call(CLOSE_RANGE, CHANNEL + 1, ~0U, 0, 0, 0, 0) == 0) call(EXECVE, (long)path, (long)argv, (long)env, 0, 0, 0);
  *has_failed = 1;
  leave(EXIT_FAILURE);
}

/* Exits as `start`: when the daemon has answered through `channel`, or as the daemon has exited. */
__attribute__((noreturn)) static void await_answer(long daemon, int channel) {
  unsigned char status_told;
  /* If our caller ignores SIGCHLD, nobody can tell how the daemon has exited. */
  int status = EXIT_FAILURE << 8;
  long length;
  while ((length = call(READ, channel, (long)&status_told, 1, 0, 0, 0)) == -EINTR) continue;
  if (length == 1) leave(status_told);
  while (call(WAIT4, daemon, (long)&status, 0, 0, 0, 0) == -EINTR) continue;
  if (status & 0x7f) leave_killed();
  leave(status >> 8 & 0xff);
}

/* `start`; returns when the daemon could not be launched, with everything unchanged but LD_LIBRARY_PATH, which is clean. */
static void start(struct command *command, long argc, char **env) {
  char path[PATH_BYTES];
  struct launcher launcher;
  int ends[2];
  volatile int has_failed = 0;
  long count = 0;
  char **entry;
  for (entry = env; *entry; entry++) count++;
  if (argc > ENTRIES_MAX || count > ENTRIES_MAX) return;
  char *argv[argc + 1];
  /* A setting is longer than one byte, which leaves room for what else is added. */
  char *variables[count + sizeof(ENGINE_SETTINGS)];

  count = 0;
  for (long at = 0; command->argv[at]; at++) {
    if (command->publish_binary && at == command->publish_binary) at++;
    else if (at != command->action) argv[count++] = command->argv[at];
  }
  argv[count] = 0;

  count = 0;
  for (entry = env; *entry; entry++) {
    if (is_dropped(*entry) || (is_named(*entry, "LD_LIBRARY_PATH") && !keep_absolute(*entry))) continue;
    variables[count++] = *entry;
  }
  for (const char *setting = ENGINE_SETTINGS; *setting; setting += length_of(setting) + 1) variables[count++] = (char *)setting;
  variables[count] = 0;
  word own = given("/proc/self", 0);
  describe(&launcher, call(GETPPID, 0, 0, 0, 0, 0, 0), kin_of(own, variables));
  if (*launcher.kin) hire(launcher.kin, own, argv, launcher.manager);
  variables[count++] = launcher.variable;

  long length = call(READLINKAT, AT_FDCWD, (long)"/proc/self/exe", (long)path, sizeof(path) - 1, 0, 0);
  if (length <= 0 || length >= (long)sizeof(path) - 1) return;
  path[length] = 0;
  /* Replaced while it runs: the kernel still finds the running file, only not by name. */
  if (call(FACCESSAT, AT_FDCWD, (long)path, F_OK, 0, 0, 0) != 0) join(path, "/proc/self", "exe");

  if (call(PIPE2, (long)ends, O_CLOEXEC, 0, 0, 0, 0) != 0) return;
  /* Before the engine is there: its first pages would be huge ones. */
  int has_huge_pages =
      call(PRCTL, PR_GET_THP_DISABLE, 0, 0, 0, 0, 0) == 0 && call(PRCTL, PR_SET_THP_DISABLE, 1, 0, 0, 0, 0) == 0;
  if (has_huge_pages) variables[count++] = (char *)HUGE_PAGES_ENTRY;
  variables[count] = 0;
  /* In place of a closed stream; the engine can do without streams. */
  long pid = ends[0] < CHANNEL ? -1 : call(CLONE, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0, 0);
  if (pid == 0) become_daemon(path, argv, variables, ends[1], &has_failed);
  call(CLOSE, ends[1], 0, 0, 0, 0, 0);
  if (pid > 0 && !has_failed) await_answer(pid, ends[0]);
  if (pid > 0) call(WAIT4, pid, 0, 0, 0, 0, 0);
  call(CLOSE, ends[0], 0, 0, 0, 0, 0);
  if (has_huge_pages) call(PRCTL, PR_SET_THP_DISABLE, 0, 0, 0, 0, 0);
}

/* Does what it can of the command line: argc, argv, 0, env, 0, as the kernel has laid them out. */
static void run(word *stack) {
  long argc = (long)stack[0];
  char **env = (char **)(stack + argc + 2);
  struct command command;
  command.argv = (char **)(stack + 1);
  if (argc < 2 || is_debug_command(command.argv[0])) return;
  parse(&command);
  if (!command.action || command.argv[command.action + 1]) return;
  if (is_same(command.argv[command.action], "start")) start(&command, argc, env);
  else if (is_same(command.argv[command.action], "delete")) delete_deleted(command.bundle);
}

/* The next instruction, where the process continues. `left_by_loader` is 0 if no loader ran before. */
__attribute__((used)) word launch(word *stack, word left_by_loader) {
  run(stack);
  /* Run as the program of `ld.so PROGRAM`, everything is ready. */
  return left_by_loader ? ENGINE_ENTRY : way_to_engine(stack);
}
