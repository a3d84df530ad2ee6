/** A sign of life on a terminal for what takes longer than a second; nothing anywhere else. */

import type { Style } from "./style.ts";
import { formatDuration } from "./units.ts";

const SHOWN_AFTER_MS = 1000;
const FRAME_MS = 100;
const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const CLEAR_LINE = "\r\x1b[K";

/** Where it is drawn; undefined where nobody sees it. */
export interface SpinnerScreen {
  readonly write: (text: string) => void;
  readonly style: Style;
}

/** Passes the outcome of `work` on; meanwhile shows `what` with the elapsed time. */
export async function withSpinner<Result>(
  screen: SpinnerScreen | undefined,
  what: string,
  work: Promise<Result>,
): Promise<Result> {
  if (screen === undefined) return await work;
  const startedAtMs = performance.now();
  let frame = 0;
  const timer = setInterval(() => {
    const elapsedMs = performance.now() - startedAtMs;
    if (elapsedMs < SHOWN_AFTER_MS) return;
    const sign = FRAMES[frame++ % FRAMES.length] ?? "";
    screen.write(CLEAR_LINE + screen.style.faint(`${sign} ${what}, ${formatDuration(elapsedMs)}`));
  }, FRAME_MS);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    if (frame > 0) screen.write(CLEAR_LINE);
  }
}
