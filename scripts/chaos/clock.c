/*
 * The time of day, moved: a library that is preloaded into a process, for which the machine's clock is then as
 * many seconds ahead as OFFSET_FILE (from the compiler's command line) says, at any time anew.
 *
 * What measures time (CLOCK_MONOTONIC and the like) is left alone, as when somebody sets the clock. Programs
 * without libc, and those that ask the kernel themselves, as Go programs do, do not see it.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#define WAIT_VERSION "GLIBC_2.3.2"
#else
#define WAIT_VERSION "GLIBC_2.17"
#endif

typedef int timed_wait(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

/* Zero, which is the machine's own clock, until the file is there: others' constructors may ask before ours. */
static const volatile int64_t *offset;
static timed_wait *wait_by_the_kernel;

__attribute__((constructor)) static void begin(void) {
  wait_by_the_kernel = (timed_wait *)dlvsym(RTLD_NEXT, "pthread_cond_timedwait", WAIT_VERSION);
  int file = open(OFFSET_FILE, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  void *page = mmap(0, sizeof(*offset), PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (page != MAP_FAILED) offset = page;
}

static time_t seconds_ahead(void) { return offset ? (time_t)*offset : 0; }

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += seconds_ahead();
  return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec time;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &time) != 0) return -1;
  now->tv_sec = time.tv_sec;
  now->tv_usec = time.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *copy) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  if (copy) *copy = now.tv_sec;
  return now.tv_sec;
}

/* `until` is by the moved clock, and the kernel waits by its own. */
int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
  struct timespec actual = *until;
  actual.tv_sec -= seconds_ahead();
  return wait_by_the_kernel(condition, mutex, &actual);
}
