/*
 * The kernel as the native programs call it: they have no C library.
 *
 * Each program defines the numbers of the calls that it makes.
 */

#ifndef WEDGE_KERNEL_H
#define WEDGE_KERNEL_H

typedef unsigned long word;

/* Whether a system call has returned a negated errno(3). */
#define IS_ERROR(result) ((word)(result) > -4096UL)

#if defined(__x86_64__)
__attribute__((always_inline)) static inline long call(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
__attribute__((always_inline)) static inline long call(long number, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return x0;
}
#else
#error "no system calls are known for this processor"
#endif

/* What a compiler may call by itself, for a value of many bytes. */
__attribute__((used)) static void *memset(void *to, int byte, word length) {
  for (word at = 0; at < length; at++) ((char *)to)[at] = byte;
  return to;
}

__attribute__((used)) static void *memcpy(void *to, const void *from, word length) {
  for (word at = 0; at < length; at++) ((char *)to)[at] = ((const char *)from)[at];
  return to;
}

#endif
