/*
 * Moves the process that calls it to the cgroup that it is in: what a copy of the shim runs (`linux/copy.ts`).
 *
 * int rejoin(const char *hierarchy): `hierarchy` is two words, each ended by a NUL. The first tells its line of
 * /proc/self/cgroup (cgroups(7)): what follows the number, up to the path, as in ":pids:" or, for version 2, "::".
 * The second is where it is mounted. Returns 0, whatever came of it.
 *
 * It shares the shim's memory and may be loaded anywhere; it calls no libc. The membership is read here, not in the
 * shim, as older kernels make readers of it wait for the same lock.
 */

#include "kernel.h"

#if defined(__x86_64__)
#define SYS_READ 0
#define SYS_WRITE 1
#define SYS_CLOSE 3
#define SYS_OPENAT 257
#define SYS_CLOSE_RANGE 436
#elif defined(__aarch64__)
#define SYS_READ 63
#define SYS_WRITE 64
#define SYS_CLOSE 57
#define SYS_OPENAT 56
#define SYS_CLOSE_RANGE 436
#endif

#define AT_FDCWD -100
#define O_RDONLY 0
#define O_WRONLY 1
#define O_CLOEXEC 02000000
#define CLOSE_RANGE_UNSHARE 2
#define LAST_DESCRIPTOR 0xffffffffUL
/* More than what a service manager, a kubelet or a container engine names; where it is not enough, nothing is done. */
#define TEXT_BYTES 4096
#define PATH_BYTES 1024

static const char memberships[] = "/proc/self/cgroup";
static const char processes[] = "/cgroup.procs";
/* Whoever writes it (cgroups(7)). */
static const char writer[] = "0";

static long open_file(const char *path, long flags) {
  return call(SYS_OPENAT, AT_FDCWD, (long)path, flags | O_CLOEXEC, 0, 0, 0);
}

/* The file's text, ended by a NUL; empty where it cannot be read, or is too long. */
static void read_text(const char *path, char text[TEXT_BYTES]) {
  word length = 0;
  long file = open_file(path, O_RDONLY);
  text[0] = 0;
  if (IS_ERROR(file)) return;
  for (;;) {
    long got = call(SYS_READ, file, (long)(text + length), (long)(TEXT_BYTES - 1 - length), 0, 0, 0);
    if (IS_ERROR(got)) length = 0;
    if (IS_ERROR(got) || got == 0) break;
    length += (word)got;
  }
  call(SYS_CLOSE, file, 0, 0, 0, 0, 0);
  text[length == TEXT_BYTES - 1 ? 0 : length] = 0;
}

/* What follows `prefix` in `text`, or 0. */
static const char *after(const char *text, const char *prefix) {
  for (; *prefix; text++, prefix++)
    if (*text != *prefix) return 0;
  return text;
}

/* The path in the line that `key` tells, or 0. */
static const char *find_path(const char *text, const char *key) {
  while (*text) {
    while (*text >= '0' && *text <= '9') text++;
    const char *path = after(text, key);
    if (path) return path;
    while (*text && *text++ != '\n') {
    }
  }
  return 0;
}

/* Appends `from`, up to the end of its line, at `length`. Returns the new length; PATH_BYTES where it does not fit. */
static word append(char path[PATH_BYTES], word length, const char *from) {
  for (; *from && *from != '\n'; from++) {
    if (length >= PATH_BYTES - 1) return PATH_BYTES;
    path[length++] = *from;
  }
  path[length] = 0;
  return length;
}

static int leads_upwards(const char *path) {
  for (; *path; path++)
    if (after(path, "/..")) return 1;
  return 0;
}

__attribute__((section(".text.startup"))) int rejoin(const char *hierarchy) {
  char text[TEXT_BYTES];
  char path[PATH_BYTES];
  const char *mount_point = hierarchy;
  while (*mount_point++) {
  }
  /* A table of its own, and empty: whatever the shim closes meanwhile is closed. Kernels before 5.9 cannot. */
  call(SYS_CLOSE_RANGE, 0, (long)LAST_DESCRIPTOR, CLOSE_RANGE_UNSHARE, 0, 0, 0);
  read_text(memberships, text);
  const char *own = find_path(text, hierarchy);
  if (!own) return 0;
  word length = append(path, 0, mount_point);
  if (length < PATH_BYTES) length = append(path, length, own);
  if (length < PATH_BYTES) length = append(path, length, processes);
  /* One that is outside of this process's cgroup namespace begins with "/..". */
  if (length == PATH_BYTES || leads_upwards(path)) return 0;
  long file = open_file(path, O_WRONLY);
  if (IS_ERROR(file)) return 0;
  call(SYS_WRITE, file, (long)writer, 1, 0, 0, 0);
  call(SYS_CLOSE, file, 0, 0, 0, 0, 0);
  return 0;
}
