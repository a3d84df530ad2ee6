/**
 * Kernel errors with their name.
 *
 * `errno` is per thread and the next libc call may overwrite it, so {@link check} reads it in
 * the same turn as the call that failed: never `await` in between.
 */

import { type Pointer, read } from "bun:ffi";
import { assert } from "../base/assert.ts";
import { errnoTable } from "./libc.ts";

/** Numbers of errno(3), the same on every processor; errors carry the name. */
export const EPERM = 1;
export const ESRCH = 3;
export const EINTR = 4;
export const ECHILD = 10;
export const EAGAIN = 11;
export const EINVAL = 22;
export const ENOSYS = 38;

let errnoAddress: Pointer | undefined;

/** The calling thread's errno, right after a call that failed. */
export function errno(): number {
  if (errnoAddress === undefined) {
    const address = errnoTable().__errno_location();
    assert(typeof address === "number", "errno has an address");
    errnoAddress = address;
  }
  return read.i32(errnoAddress, 0);
}

/** A system call that the kernel refused. `code` is the name that errno(3) lists: "ENOENT". */
export class SystemError extends Error {
  override readonly name = "SystemError";
  readonly call: string;
  readonly code: string;
  readonly errno: number;

  /** `subject` is what the call was about (a path, an id); it is only for the message. */
  constructor(call: string, number: number, subject?: string) {
    // Loaded here: it takes a millisecond, and most processes meet no error.
    const { getSystemErrorMessage, getSystemErrorName } = process.getBuiltinModule("node:util");
    const text = getSystemErrorMessage(-number) ?? `errno ${number}`;
    super(subject === undefined ? `${call}: ${text}` : `${call} ${subject}: ${text}`);
    this.call = call;
    this.code = getSystemErrorName(-number);
    this.errno = number;
  }
}

/** Passes a non-negative result through; turns -1 into a {@link SystemError}. */
export function check(call: string, result: number | bigint, subject?: string): number {
  const value = Number(result);
  if (value >= 0) return value;
  throw new SystemError(call, errno(), subject);
}

/** For functions that return the error number itself (posix_spawn(3) and the like). */
export function checkReturned(call: string, number: number, subject?: string): void {
  if (number !== 0) throw new SystemError(call, number, subject);
}

/** Whether `thrown` is a refusal of the kernel with one of these names; knows node:fs errors too. */
export function hasCode(thrown: unknown, ...codes: readonly string[]): boolean {
  return (
    thrown instanceof Error &&
    "code" in thrown &&
    typeof thrown.code === "string" &&
    codes.includes(thrown.code)
  );
}
