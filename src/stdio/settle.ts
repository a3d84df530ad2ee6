/**
 * What to hold of an output FIFO when nobody writes to it any more: a pure decision.
 *
 * A FIFO forgets its bytes when the last descriptor closes, lets a reader's open(2) return only while
 * it has a writer, and gives end of file only while it has none (fifo(7)). So a reading end keeps the
 * bytes and disturbs nobody, and a writing end is held only while there is no reader that it would keep
 * from end of file: that is what lets a manager that comes back late open the FIFO and find every byte.
 */

/** The state of a FIFO without writers. */
export interface Look {
  /** Bytes that nobody has read. */
  readonly unread: number;
  /** Checks whether somebody else has it open for reading. Costs a few system calls. */
  readonly hasReader: () => boolean;
  /** Whether the process that wrote to it has exited. */
  readonly hasExited: boolean;
  /** Looks taken since the writers left. */
  readonly looks: number;
}

/** What to hold, and when to look again; never, when `nextMs` is undefined. */
export type Holding =
  | { readonly kind: "reader"; readonly nextMs: number | undefined }
  | { readonly kind: "writer"; readonly nextMs: number }
  | { readonly kind: "nothing" };

/** 0 is the next turn of the event loop. A quick reader is done within the first few. */
const DELAYS_MS: readonly number[] = [0, 0, 0, 1, 2, 5, 10, 20, 50];
/** After this many looks a reader that is seen counts as one. */
const SURE_LOOKS = 6;
const DELAY_MS = 100;
/** After this many looks (about ten seconds) nobody is in a hurry. */
const HURRIED_LOOKS = 100;
const LONG_DELAY_MS = 1000;

/** Decides. See the header for why. */
export function settle(look: Look): Holding {
  const nextMs = delayAfter(look.looks);
  // At once: a returning manager removes a reader that cannot open the FIFO yet as soon as it hears of the
  // exit.
  if (look.unread > 0) return { kind: look.hasReader() ? "reader" : "writer", nextMs };
  // A reader that comes before the exit waits for it in open(2), which costs nobody anything.
  if (!look.hasExited) return { kind: "reader", nextMs: undefined };
  // A process that is being spawned has a copy of our own end until its exec, and is not a reader.
  if (look.hasReader())
    return look.looks < SURE_LOOKS ? { kind: "reader", nextMs } : { kind: "nothing" };
  return { kind: "writer", nextMs };
}

function delayAfter(looks: number): number {
  return DELAYS_MS[looks] ?? (looks < HURRIED_LOOKS ? DELAY_MS : LONG_DELAY_MS);
}
