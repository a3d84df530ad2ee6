/*
 * A program that rehearses like the wedge at the path WEDGE, and then fails in the way MODE.
 * Each time that it is executed to restore a shim it adds a byte to the file ATTEMPTS.
 */

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STARTERS 4
/* So many system calls of a traced thread take longer than it takes the guardian to learn of a crash. */
#define CALLS 100

/* Whether a process has come to a halt, and who traces it: 0 is nobody. */
static void look(int pid, int *is_halted, int *tracer) {
  char path[40], line[80], state = 0;
  *tracer = 0;
  snprintf(path, sizeof(path), "/proc/%d/status", pid);
  FILE *status = fopen(path, "r");
  while (status && fgets(line, sizeof(line), status)) {
    sscanf(line, "State: %c", &state);
    sscanf(line, "TracerPid: %d", tracer);
  }
  if (status) fclose(status);
  *is_halted = state == 'T' || state == 't' || state == 0;
}

/* Strikes the shim while it restores; not if it has done so by then, for which it is halted. */
static void strike_after(int signal, int microseconds) {
  int shim = getpid(), is_halted, guardian, tracer;
  look(shim, &is_halted, &guardian);
  if (fork() != 0) return;
  usleep(microseconds);
  kill(shim, SIGSTOP);
  /* It stops for moments while it is traced, too; and a guardian that need not be there any more soon ends. */
  for (int times = 0; times < 200; times += is_halted) {
    look(shim, &is_halted, &tracer);
    usleep(1000);
  }
  /*
   * Another guardian's is at its next upgrade. The thread that restores it: when another one crashes, this
   * one may be done before that is seen.
   */
  if (guardian != 0 && tracer == guardian) syscall(SYS_tgkill, shim, shim, signal);
  kill(shim, SIGCONT);
  _exit(0);
}

static int document, image;
static volatile int has_crashed;

static void *let_go(void *nothing) {
  if (!has_crashed) return 0;
  for (int i = 0; i < CALLS; i++) syscall(SYS_getppid);
  close(document);
  close(image);
  return 0;
}

static void *start_others(void *nothing) {
  pthread_t thread;
  for (;;)
    if (pthread_create(&thread, 0, let_go, 0) == 0) pthread_detach(thread);
}

/* One thread crashes, while others begin, which let go of what was handed over as soon as nobody holds them up. */
static void fail_in_crowd(void) {
  pthread_t thread;
  sscanf(getenv("WEDGE_HANDOFF"), "%d:%d", &document, &image);
  for (int i = 0; i < STARTERS; i++) pthread_create(&thread, 0, start_others, 0);
  usleep(100000);
  has_crashed = 1;
  /* Not for an address: that would wait for the threads which begin, that is for the memory of their stacks. */
  __builtin_trap();
}

int main(int argc, char **argv) {
  const char *mode = MODE;
  int is_rehearsal = !strcmp(argv[argc - 1], "rehearse");
  int after;
  if (!is_rehearsal) {
    int attempts = open(ATTEMPTS, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (write(attempts, "x", 1) != 1) return 99;
    if (!strcmp(mode, "signal")) raise(SIGSEGV);
    if (!strcmp(mode, "nowhere")) ((void (*)(void))0)();
    if (!strcmp(mode, "stackless")) __asm__ volatile("mov $8, %rsp\n  push %rax");
    if (!strcmp(mode, "abort")) abort();
    if (!strcmp(mode, "status-0")) return 0;
    if (!strcmp(mode, "status-3")) _exit(3);
    if (!strcmp(mode, "sleeping")) for (;;) pause();
    if (!strcmp(mode, "busy")) for (;;) {}
    if (!strcmp(mode, "again")) {
      usleep(1000);
      execv("/proc/self/exe", argv);
    }
    if (!strcmp(mode, "halted")) raise(SIGSTOP);
    if (!strcmp(mode, "crowd")) fail_in_crowd();
    if (!strcmp(mode, "lost")) {
      char value[40];
      int nothing = open("/dev/null", O_RDONLY);
      snprintf(value, sizeof(value), "%d:%d", nothing, nothing);
      setenv("WEDGE_HANDOFF", value, 1);
    }
    if (sscanf(mode, "struck-%d", &after) == 1) strike_after(SIGSEGV, after);
  }
  argv[0] = WEDGE;
  execv(WEDGE, argv);
  return 98;
}
