/** The keys that leave a container to itself: Ctrl-P, then Ctrl-Q, as other clients have them. */

const CTRL_P = 0x10;
const CTRL_Q = 0x11;

/** Tells of each chunk of input whether the keys are complete with it; they may come in two. */
export class LeaveKeys {
  #hasFirst = false;

  isComplete(chunk: Uint8Array): boolean {
    for (const byte of chunk) {
      if (this.#hasFirst && byte === CTRL_Q) return true;
      this.#hasFirst = byte === CTRL_P;
    }
    return false;
  }
}
