/** The keys that detach from a container: Ctrl-P, then Ctrl-Q, as in other clients. */

const CTRL_P = 0x10;
const CTRL_Q = 0x11;

/** Tells for each chunk of input whether it completes the keys; they may come in two. */
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
