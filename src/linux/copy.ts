/** Copies of this process that make one call each: for calls that may block, or need a namespace of their own. */

import { type Pointer, ptr } from "bun:ffi";
import { assert } from "../base/assert.ts";
import { cString } from "./bytes.ts";
import { check } from "./errno.ts";
import { copyTable } from "./libc.ts";
import { type Mapping, mapMemory } from "./mapping.ts";
import { nativeCode } from "./native-code.ts";
import { holdSignals, SIGCHLD } from "./signals.ts";

/** clone(2): the copy shares the memory. */
export const CLONE_VM = 0x100;
const CLONE_FILES = 0x400;
const CLONE_SETTLS = 0x8_0000;
/** clone(2): the copy gets its own user namespace. */
export const CLONE_NEWUSER = 0x1000_0000;
const STACK_BYTES = 64 * 1024;
/** On each side of the thread pointer: on which side libc's variables are depends on the processor. */
const TLS_BYTES = 128 * 1024;

/** A mounted hierarchy of cgroups (cgroups(7)). */
export interface Hierarchy {
  readonly mountPoint: string;
  /** What follows the number in its line of /proc/PID/cgroup, up to the path. */
  readonly key: string;
}

/** What a copy of this process can do: one call with one argument. */
export type CopyTask =
  /** umount(2); the copy exits with status 0, or 255 when the kernel refused. */
  | { readonly call: "umount"; readonly path: string }
  /** Moves itself to the cgroup in which it is, by src/native/rejoin.c in base64; the copy exits with status 0. */
  | { readonly call: "rejoin"; readonly image: string; readonly hierarchy: Hierarchy }
  /** sleep(3): a process to be looked at from outside, which exits by itself. */
  | { readonly call: "sleep"; readonly seconds: number };

/** A copy that is running. To be disposed once it has ended: it may run on memory of this process. */
export interface Copy extends Disposable {
  readonly pid: number;
}

/** What copies run on, and what they read: however long an umount hangs, and whoever has let go of the copy. */
const inUse = new Map<Mapping, CopyFunction["argument"]>();

/**
 * Starts a copy of this process that runs `task` and exits with its result.
 *
 * clone(2) enters the function directly, so no JavaScript runs there and no lock that another thread held
 * matters. The descriptor table is shared: the copy keeps none open. So is the memory if the function makes
 * nothing but system calls, on a stack and with an errno of the copy's own: copying the engine's pages, and
 * copying them again on the next write, costs milliseconds. No signal handler runs in the copy.
 * Throws SystemError: EAGAIN, ENOMEM, EPERM; EACCES where the kernel allows no new code.
 */
export function copyProcess(task: CopyTask, namespaces = 0): Copy {
  const { entry, argument, isSharing } = functionOf(task);
  const flags = namespaces | (isSharing ? CLONE_VM | CLONE_SETTLS : 0) | CLONE_FILES | SIGCHLD;
  using undo = new DisposableStack();
  // Most of its pages are never touched, so they are never there.
  const memory = undo.use(mapMemory(STACK_BYTES + 2 * TLS_BYTES));
  const stackTop = (memory.address + STACK_BYTES) as Pointer;
  const threadPointer = (stackTop + TLS_BYTES) as Pointer;
  using _held = holdSignals();
  const address = typeof argument === "number" ? (argument as Pointer) : ptr(argument);
  const { clone } = copyTable();
  const pid = clone(entry, stackTop, flags, address, null, threadPointer, null);
  check("clone", pid);
  inUse.set(memory, argument);
  undo.move();
  return {
    pid,
    [Symbol.dispose]: () => {
      if (inUse.delete(memory)) memory[Symbol.dispose]();
    },
  };
}

interface CopyFunction {
  readonly entry: Pointer;
  /** A number, or text by its address. */
  readonly argument: number | Uint8Array;
  /** Whether it makes nothing but system calls. */
  readonly isSharing: boolean;
}

function functionOf(task: CopyTask): CopyFunction {
  switch (task.call) {
    case "umount":
      return { entry: libcFunction("umount"), argument: cString(task.path), isSharing: true };
    case "sleep":
      return { entry: libcFunction("sleep"), argument: task.seconds, isSharing: false };
    case "rejoin": {
      const { key, mountPoint } = task.hierarchy;
      const argument = Buffer.from(`${key}\0${mountPoint}\0`);
      return { entry: nativeCode(task.image), argument, isSharing: true };
    }
  }
}

function libcFunction(name: "umount" | "sleep"): Pointer {
  const text = cString(name);
  const entry = copyTable().dlsym(null, ptr(text));
  assert(entry !== null, `libc has ${name}`);
  return entry as Pointer;
}
