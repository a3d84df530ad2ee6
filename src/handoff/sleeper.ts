/** The program of a sleeping shim (`src/native/sleeper.c`), and the table that it is given. */

import type { Inventory } from "../base/inventory.ts";
import { type OwnedFd, openMemoryFile, writeWhole } from "../linux/fd.ts";
import { POLLFD_BYTES, POLLIN } from "../linux/poll.ts";
import { isDumpable } from "../linux/self.ts";
import { openSignals, SIGCHLD, SIGINT, SIGTERM, SIGUSR1 } from "../linux/signals.ts";
import { sleeperImage } from "../version.ts";
import type { HandoffDocument } from "./document.ts";
import type { ShimParts } from "./snapshot.ts";
import { SLEEP_VARIABLE } from "./variables.ts";

const PROGRAM_LABEL = "wedge-sleeper";
const TABLE_LABEL = "wedge-sleep-table";
/** The layout is that of `struct table` and `struct pollfd` in the C source. */
const MAGIC = 0x77656467;
const HEADER_BYTES = 40;
const NANOSECONDS_PER_MILLISECOND = 1_000_000;

/** Whether this wedge can sleep: whether it was built with a C compiler. */
export function hasSleeper(): boolean {
  return sleeperImage !== "";
}

/** The sleeper, ready to be executed; undefined when this wedge has none. Throws SystemError. */
export function openSleeper(): OwnedFd | undefined {
  if (!hasSleeper()) return undefined;
  const program = openMemoryFile(PROGRAM_LABEL, { isExecutable: true });
  try {
    writeWhole(program.fd, Buffer.from(sleeperImage, "base64"));
    return program;
  } catch (error) {
    program[Symbol.dispose]();
    throw error;
  }
}

/**
 * The table of everything that may concern the shim while it sleeps, and a signalfd. `image` is the
 * descriptor of the program to wake up as.
 */
export function fillTable({
  parts,
  document,
  inventory,
  image,
  ownPath,
  undo,
}: {
  readonly parts: ShimParts;
  readonly document: HandoffDocument;
  readonly inventory: Inventory;
  readonly image: number;
  /** Where its file was. */
  readonly ownPath: string;
  /** Owns what is opened here, in case the shim cannot leave. */
  readonly undo: DisposableStack;
}): { readonly variable: string; readonly fds: readonly number[] } {
  const signals = undo.use(openSignals([SIGINT, SIGUSR1, SIGTERM, SIGCHLD]));
  const polled = [
    // First: {@link signalsOf}.
    { fd: signals.fd, events: POLLIN },
    { fd: parts.listener, events: POLLIN },
    ...document.connections.map(({ fd }) => ({ fd, events: POLLIN })),
    ...parts.poller.watched().filter(({ fd }) => fd !== parts.signals.fd),
  ];
  const path = Buffer.from(`${ownPath}\0`);
  const bytes = new Uint8Array(HEADER_BYTES + polled.length * POLLFD_BYTES + path.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, polled.length, true);
  view.setInt32(8, image, true);
  view.setInt32(12, isDumpable() ? 1 : 0, true);
  const { deadlineMs } = inventory;
  const waitMs = deadlineMs === undefined ? -1 : Math.max(deadlineMs - performance.now(), 0);
  view.setBigInt64(16, BigInt(waitMs < 0 ? -1 : Math.floor(waitMs / 1000)), true);
  const rest = waitMs < 0 ? 0 : Math.floor((waitMs % 1000) * NANOSECONDS_PER_MILLISECOND);
  view.setBigInt64(24, BigInt(rest), true);
  view.setBigInt64(32, BigInt(path.length), true);
  bytes.set(path, bytes.length - path.length);
  polled.forEach(({ fd, events }, place) => {
    view.setInt32(HEADER_BYTES + place * POLLFD_BYTES, fd, true);
    view.setInt16(HEADER_BYTES + place * POLLFD_BYTES + 4, events, true);
  });
  const table = undo.use(openMemoryFile(TABLE_LABEL));
  writeWhole(table.fd, bytes);
  return { variable: `${SLEEP_VARIABLE}=${table.fd}`, fds: [table.fd, signals.fd] };
}

/** The sleeper's signalfd, by its table. */
export function signalsOf(table: Uint8Array): number {
  return new DataView(table.buffer, table.byteOffset).getInt32(HEADER_BYTES, true);
}

/** The descriptors that ended a sleep, by the table that the sleeper has left. */
export function wakers(table: Uint8Array): readonly number[] {
  const view = new DataView(table.buffer, table.byteOffset, table.byteLength);
  const count = view.getUint32(4, true);
  const places = Array.from({ length: count }, (_, place) => HEADER_BYTES + place * POLLFD_BYTES);
  return places
    .filter((at) => view.getInt16(at + 6, true) !== 0)
    .map((at) => view.getInt32(at, true));
}
