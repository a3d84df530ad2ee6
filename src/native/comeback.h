/*
 * What the guardian makes a shim run to go back to its old program, and the table that it works from.
 */

#ifndef WEDGE_COMEBACK_H
#define WEDGE_COMEBACK_H

#include "kernel.h"

#ifndef __x86_64__
#error "registers are known of x86-64 alone"
#endif

/* In a memory file; the layout is that of `handoff/guardian.ts`. */
struct table {
  /* 0 at first, then 1 for a traced shim, or a negated errno. */
  int state;
  /* Everything below is filled in before the shim leaves its program. */
  int size;
  /* How long a program may take, in milliseconds. */
  int limit;
  /* Descriptors in the shim: the program to go back to, and this table. */
  int program;
  int table;
  /* The number of descriptors handed over, of words in the command line, and of entries in the environment. */
  int fds;
  int words;
  int entries;
  /* Where the text begins that tells the old program what happened, and its maximum length. */
  int reason;
  int reason_bytes;
  /* The signals that a program begins with blocked. */
  word blocked;
  /* The descriptors; then words and entries, each with a NUL at its end. */
  int fd[];
};

enum { MMAP = 9, FCNTL = 72, CHDIR = 80, EXIT_GROUP = 231, EXECVEAT = 322, CLOSE_RANGE = 436 };

#define PROT_READ 1
#define PROT_WRITE 2
#define MAP_PRIVATE 2
#define F_SETFD 2
#define CLOSE_RANGE_CLOEXEC 4
#define STDERR 2
#define AT_EMPTY_PATH 0x1000

/*
 * This section is copied over a page of the failed program, and entered with the descriptor of the table
 * and its size. It has a stack of its own, as the program's may be the problem.
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
    /* Whatever the failed program has opened ends with it (Linux 5.11). */
    call(CLOSE_RANGE, STDERR + 1, -1U, CLOSE_RANGE_CLOEXEC, 0, 0, 0);
    for (int i = 0; i < table->fds; i++) call(FCNTL, table->fd[i], F_SETFD, 0, 0, 0, 0);
    call(CHDIR, (long)root, 0, 0, 0, 0, 0);
    call(EXECVEAT, table->program, (long)(root + 1), (long)pointers, (long)(pointers + table->words + 1), AT_EMPTY_PATH, 0);
  }
  call(EXIT_GROUP, 125, 0, 0, 0, 0, 0);
  __builtin_unreachable();
}

#endif
