/**
 * Executes a program for which the kernel lacks one system call, with seccomp(2):
 * `bun without-call.ts NUMBER PROGRAM ARGUMENT...`.
 */

import { dlopen, ptr } from "bun:ffi";
import { constants } from "node:os";

const PR_SET_NO_NEW_PRIVS = 38;
const PR_SET_SECCOMP = 22;
const SECCOMP_MODE_FILTER = 2;
const SECCOMP_RET_ERRNO = 0x50000;
const SECCOMP_RET_ALLOW = 0x7fff0000;
const LOAD = 0x20;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;

const [number = "", ...argv] = process.argv.slice(2);
const { symbols: libc } = dlopen("libc.so.6", {
  prctl: { args: ["int", "u64", "u64", "u64", "u64"], returns: "int" },
  execv: { args: ["ptr", "ptr"], returns: "int" },
});

/** Of 8 bytes each: what to do, how far to jump if so and if not, and with what. */
function instruction(code: number, value: number, jumpUnless = 0): readonly number[] {
  return [code, jumpUnless << 8, value & 0xffff, value >>> 16];
}

const filter = Uint16Array.from([
  ...instruction(LOAD, 0),
  ...instruction(JUMP_IF_EQUAL, Number(number), 1),
  ...instruction(RETURN, SECCOMP_RET_ERRNO | constants.errno.ENOSYS),
  ...instruction(RETURN, SECCOMP_RET_ALLOW),
]);
const program = BigUint64Array.of(BigInt(filter.length / 4), BigInt(ptr(filter)));
const words = argv.map((word) => Buffer.from(`${word}\0`));
const list = BigUint64Array.from([...words.map((word) => BigInt(ptr(word))), 0n]);

libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ptr(program), 0, 0);
libc.execv(ptr(words[0] ?? Buffer.alloc(1)), ptr(list));
