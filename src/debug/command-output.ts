/** A short program, run to its end, with what it printed. */

import type { Children, Exit } from "../linux/children.ts";
import { O_NONBLOCK, openPipe, readFd, setNonBlocking } from "../linux/fd.ts";
import type { Poller } from "../linux/poller.ts";
import { SIGKILL } from "../linux/signals.ts";

const READ_BYTES = 65536;
/** More than any answer; the rest is read and dropped. */
const OUTPUT_BYTES_MAX = 1024 * 1024;

export interface Kernel {
  readonly poller: Poller;
  readonly children: Children;
}

export interface Command {
  /** By another name than its path, see `SpawnOptions`. */
  readonly path?: string;
  readonly argv: readonly string[];
  readonly cwd?: string;
  /** `NAME=value`. */
  readonly env: readonly string[];
  /** Killed if it takes longer; unlimited if undefined. */
  readonly timeoutMs?: number;
}

export interface CommandOutput {
  readonly exit: Exit;
  /** Standard output and error in one, in the order in which they came. */
  readonly text: string;
}

/**
 * Runs `command` without input. Ends when it has exited, even if a descendant still holds its
 * output open. Throws SystemError when it cannot be started.
 */
export async function runCommand(command: Command, kernel: Kernel): Promise<CommandOutput> {
  using output = openPipeEnds();
  const { reader, writer } = output;
  const chunks: Buffer[] = [];
  let total = 0;
  const drain = (): boolean => {
    for (;;) {
      const buffer = Buffer.allocUnsafe(READ_BYTES);
      const count = readFd(reader.fd, buffer);
      if (count === "again") return true;
      if (count === 0) return false;
      if (total < OUTPUT_BYTES_MAX) chunks.push(buffer.subarray(0, count));
      total += count;
    }
  };
  const child = kernel.children.spawn({
    ...command,
    stdio: [undefined, writer.fd, writer.fd],
    leads: "group",
  });
  writer[Symbol.dispose]();
  const watch = kernel.poller.watch(reader.fd, { readable: true }, () => {
    if (!drain()) watch[Symbol.dispose]();
  });
  const timer =
    command.timeoutMs === undefined
      ? undefined
      : setTimeout(() => child.signalGroup(SIGKILL), command.timeoutMs);
  const exit = await child.exited;
  clearTimeout(timer);
  watch[Symbol.dispose]();
  drain();
  return { exit, text: Buffer.concat(chunks).toString() };
}

function openPipeEnds() {
  const ends = openPipe(O_NONBLOCK);
  // The program's own end behaves as any other pipe.
  setNonBlocking(ends.writer.fd, false);
  return {
    ...ends,
    [Symbol.dispose]: () => {
      ends.reader[Symbol.dispose]();
      ends.writer[Symbol.dispose]();
    },
  };
}
