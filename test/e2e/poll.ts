/** Waiting for external conditions that notify nobody. */

const INTERVAL_MS = 15;
const LIMIT_MS = 20_000;

/**
 * Resolves once `condition` gives true; asks again every few milliseconds.
 * Throws an Error naming `what` when it has not within `limitMs` (default 20 s).
 */
export async function poll(
  what: string,
  condition: () => boolean | Promise<boolean>,
  { limitMs = LIMIT_MS, detail = () => "" }: { limitMs?: number; detail?: () => string } = {},
): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Not within ${limitMs} ms: ${what}${detail()}`);
    await Bun.sleep(INTERVAL_MS);
  }
}
