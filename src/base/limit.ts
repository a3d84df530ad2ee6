/** Bounds on waiting. */

/** Resolves as `promise` does, or to "late" after `limitMs`; the timer does not outlive it. */
export async function within<T>(promise: Promise<T>, limitMs: number): Promise<T | "late"> {
  const { promise: late, resolve } = Promise.withResolvers<"late">();
  const timer = setTimeout(() => resolve("late"), limitMs);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
