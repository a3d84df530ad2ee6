/** Continuing as another process: with the same memory, under another pid and in a process group of its own. */

import { CFunction, ptr } from "bun:ffi";
import { ShimError } from "../base/error.ts";
import { successorImage } from "../version.ts";
import { CLONE_VM } from "./copy.ts";
import { check, SystemError } from "./errno.ts";
import { processTable, selfTable } from "./libc.ts";
import { nativeCode } from "./native-code.ts";
import { holdSignals, SIGCHLD } from "./signals.ts";

/** The number of set_tid_address(2). */
const SYS_SET_TID_ADDRESS = process.arch === "x64" ? 218 : 96;
const CLONE_CHILD_CLEARTID = 0x20_0000;
const CLONE_CHILD_SETTID = 0x100_0000;
const PR_GET_TID_ADDRESS = 40;
/** sizeof(stack_t). */
const SIGNAL_STACK_BYTES = 24;

/**
 * Moves all of this process into a new one, which leads a process group and is nobody's child; the old one
 * exits with status 0. Descriptors, working directory and signal dispositions go with it, children and pending
 * signals do not. No page is copied. The engine goes on as if nothing had happened, with the old pid
 * (`ownPid` tells the new one), and libc without rseq(2): what it takes for its processor may be another.
 *
 * Only for a process with one thread, as any other thread would end with the old process. Throws SystemError
 * when the kernel refuses (EAGAIN, EPERM), ShimError `unimplemented` without {@link successorImage}, both
 * with everything unchanged.
 */
export function moveToNewProcess(): void {
  const successor = loadSuccessor();
  const tid = new BigUint64Array(1);
  check("prctl(PR_GET_TID_ADDRESS)", selfTable().prctl(PR_GET_TID_ADDRESS, ptr(tid), 0, 0, 0));
  const tidAddress = tid[0] ?? 0n;
  const signalStack = new Uint8Array(SIGNAL_STACK_BYTES);
  check("sigaltstack", selfTable().sigaltstack(null, ptr(signalStack)));
  // libc keeps its thread id in memory: the new process's is put there, and the end of the old one must
  // not clear it.
  const flags = CLONE_VM | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD;
  {
    // A handler would run on the stack that both use.
    using _held = holdSignals();
    setTidAddress(0n);
    const result = Number(successor(flags, tidAddress));
    if (result < 0) {
      setTidAddress(tidAddress);
      throw new SystemError("clone", -result);
    }
  }
  // The kernel disables it in a process that shares memory.
  check("sigaltstack", selfTable().sigaltstack(ptr(signalStack), null));
  check("setpgid", selfTable().setpgid(0, 0));
}

let loaded: ReturnType<typeof CFunction> | undefined;

/** The function of src/native/successor.c. */
function loadSuccessor(): ReturnType<typeof CFunction> {
  if (loaded !== undefined) return loaded;
  if (successorImage === "") {
    throw new ShimError("unimplemented", "This build was made without a C compiler");
  }
  loaded = CFunction({ ptr: nativeCode(successorImage), args: ["u64", "u64"], returns: "i64" });
  return loaded;
}

function setTidAddress(address: bigint): void {
  processTable().syscall(SYS_SET_TID_ADDRESS, Number(address), 0, 0, 0, 0);
}
