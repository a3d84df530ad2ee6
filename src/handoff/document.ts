/**
 * The handoff document: everything that one program of a shim's process leaves to the next, as plain
 * data in a sealed memory file. What is not in it does not survive.
 *
 * A wedge reads the format of every wedge before it. It refuses a format newer than those it knows, and
 * the program that wrote it continues.
 */

import { fstatSync, readSync } from "node:fs";
import { messageOf, ShimError } from "../base/error.ts";
import {
  base64,
  fromBase64,
  list,
  maybe,
  plain,
  real,
  record,
  type Shape,
  type Shaped,
  toBase64,
  whole,
} from "../base/shape.ts";
import type { JournalState } from "../event/journal.ts";
import { Envelope } from "../gen/containerd/types/event.ts";
import { monotonicMs } from "../linux/clock.ts";
import { freezeMemoryFile, type OwnedFd, openMemoryFile, writeWhole } from "../linux/fd.ts";
import { programIdentityState } from "../linux/program.ts";
import { serverConnectionState } from "../rpc/ttrpc/server-connection-state.ts";
import { taskServiceState } from "../service/task.ts";
import { revision, version } from "../version.ts";
import { causeState } from "./cause.ts";

const FORMAT = "wedge-handoff";
/**
 * 2: a recorded end may not have been reported yet (`isEndTold` of a process).
 * 3: a terminal has one descriptor for both directions (no `masterForInput`).
 * 4: a log file has no counts of what became of its output (no `writtenBytes`, `lostBytes`, `rotations`), and a
 *    container does not repeat what its init says (no `killsRestOnExit`).
 */
const FORMAT_VERSION = 4;
/** For people who look into /proc. */
const LABEL = "wedge-handoff";
/** More than any shim can hold, with a full journal and full connections. */
const DOCUMENT_BYTES_MAX = 512 * 1024 * 1024;

const documentState = record({
  writer: record({ version: plain, revision: plain }),
  cause: causeState,
  /** By the clock of `linux/clock.ts`. Ages and remaining times of deadlines are as of this instant. */
  writtenAtMs: real,
  /** Every descriptor that is handed over, with its name. */
  descriptors: list(record({ fd: whole, name: plain })),
  listener: whole,
  /** The working directory: the bundle of the shim's first container, which may be gone by now. */
  directory: plain,
  task: taskServiceState,
  connections: list(serverConnectionState),
  journal: record({
    entries: list(record({ number: whole, bundle: plain, envelope: base64 })),
    next: whole,
    dropped: whole,
  }),
  lostLogLines: whole,
  /** Milliseconds of quiet before the next sleep; undefined: as configured. */
  quietMs: maybe(real),
  /** A program that was refused, or is about to be tried: the reader of this must not try it again. */
  refused: maybe(programIdentityState),
});

/** Everything that is handed over. */
export type HandoffDocument = Shaped<typeof documentState>;

/** Formats by version. */
const READERS: ReadonlyMap<number, Shape<HandoffDocument>> = new Map([
  [1, documentState],
  [2, documentState],
  [3, documentState],
  [FORMAT_VERSION, documentState],
]);

/** Fills in who wrote it, and when: now. */
export function makeDocument(
  parts: Omit<HandoffDocument, "writer" | "writtenAtMs">,
): HandoffDocument {
  return { writer: { version, revision }, writtenAtMs: monotonicMs(), ...parts };
}

export function encodeDocument(document: HandoffDocument): Uint8Array {
  return Buffer.from(JSON.stringify({ format: FORMAT, version: FORMAT_VERSION, ...document }));
}

/** Throws ShimError: `failedPrecondition` for a newer format, `invalidArgument` for what is not a document. */
export function decodeDocument(bytes: Uint8Array): HandoffDocument {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString());
  } catch (cause) {
    const text = `Cannot read the handoff document: ${messageOf(cause)}`;
    throw new ShimError("invalidArgument", text, { cause });
  }
  const head = record({ format: plain, version: whole }).parse(value, "document");
  const reader = READERS.get(head.version);
  if (head.format !== FORMAT || reader === undefined) {
    throw new ShimError(
      "failedPrecondition",
      `Cannot read the handoff document: it has format ${head.format} ${head.version}, and this wedge reads ${FORMAT} up to ${FORMAT_VERSION}`,
    );
  }
  return reader.parse(value, "document");
}

/** A memory file with the document, sealed, close-on-exec. Throws SystemError. */
export function writeDocument(bytes: Uint8Array): OwnedFd {
  const file = openMemoryFile(LABEL);
  try {
    writeWhole(file.fd, bytes);
    freezeMemoryFile(file.fd);
    return file;
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}

/** The bytes in a memory file, whatever its position. Throws ShimError, or what node:fs throws. */
export function readDocument(fd: number): Uint8Array {
  const { size } = fstatSync(fd);
  if (size > DOCUMENT_BYTES_MAX) {
    throw new ShimError(
      "invalidArgument",
      `Cannot read the handoff document: it has ${size} bytes where ${DOCUMENT_BYTES_MAX} are the limit`,
    );
  }
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; ) {
    const count = readSync(fd, bytes, at, size - at, at);
    if (count === 0) throw new ShimError("invalidArgument", "The handoff document is cut short");
    at += count;
  }
  return bytes;
}

/** What proves that a program has read the document. */
export function digestDocument(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}

export function toJournalState({
  entries,
  next,
  dropped,
}: HandoffDocument["journal"]): JournalState {
  return {
    entries: entries.map(({ number, bundle, envelope }) => ({
      ...{ number, bundle },
      envelope: Envelope.decode(fromBase64(envelope)),
    })),
    ...{ next, dropped },
  };
}

export function fromJournalState({
  entries,
  next,
  dropped,
}: JournalState): HandoffDocument["journal"] {
  return {
    entries: entries.map(({ number, bundle, envelope }) => ({
      ...{ number, bundle },
      envelope: toBase64(Envelope.encode(envelope).finish()),
    })),
    ...{ next, dropped },
  };
}
