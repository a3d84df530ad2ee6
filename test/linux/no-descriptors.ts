/** What a piece of code does while this process is given few descriptors, or none. */

import { dlopen, ptr } from "bun:ffi";

const RLIMIT_NOFILE = 7;

const libc = dlopen("libc.so.6", {
  getrlimit: { args: ["i32", "ptr"], returns: "i32" },
  setrlimit: { args: ["i32", "ptr"], returns: "i32" },
});

/**
 * Runs `action` under a soft limit of 1: descriptors that are open stay, and none can be opened. Under 0
 * poll(2) would take no entry either.
 */
export async function withoutDescriptors(action: () => Promise<void>): Promise<void> {
  await withDescriptorLimit(1, action);
}

/** Runs `action` under a soft limit of `limit`; descriptors that are open stay. */
export async function withDescriptorLimit(
  limit: number,
  action: () => Promise<void>,
): Promise<void> {
  const limits = new BigUint64Array(2);
  libc.symbols.getrlimit(RLIMIT_NOFILE, ptr(limits));
  const lowered = new BigUint64Array([BigInt(limit), limits[1] ?? 0n]);
  libc.symbols.setrlimit(RLIMIT_NOFILE, ptr(lowered));
  try {
    await action();
  } finally {
    libc.symbols.setrlimit(RLIMIT_NOFILE, ptr(limits));
  }
}
