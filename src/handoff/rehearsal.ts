/**
 * What a program must show before a shim is entrusted to it: started as a child, with the document of the
 * shim as it is now, it has to return the digest of what it has read and understood.
 */

import { hasReason, messageOf, ShimError } from "../base/error.ts";
import type { Children } from "../linux/children.ts";
import { hasCode } from "../linux/errno.ts";
import { O_NONBLOCK, type OwnedFd, openPipe, readFd } from "../linux/fd.ts";
import { bindAll } from "../linux/libc.ts";
import { SIGKILL } from "../linux/signals.ts";
import { decodeDocument, digestDocument, readDocument, writeDocument } from "./document.ts";

/** The action word that makes a wedge rehearse. */
export const REHEARSAL_ACTION = "rehearse";
/** Where it finds the document. */
const DOCUMENT_FD = 3;
/** Its own program, to be executed by this number. */
const PROGRAM_FD = 4;
const ANSWER_BYTES_MAX = 4096;
/** It takes some ten milliseconds. */
const LIMIT_MS = 10_000;

export interface RehearsalOptions {
  readonly children: Children;
  /** A handle on the program; lent. */
  readonly program: OwnedFd;
  /** For messages. */
  readonly path: string;
  /** The words before the action: the program's name and, run from source, the script. */
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly document: Uint8Array;
  readonly limitMs?: number;
}

/** Throws ShimError `failedPrecondition` for a program that cannot take the document over. */
export async function rehearse(options: RehearsalOptions): Promise<void> {
  const { children, program, path, document, limitMs = LIMIT_MS } = options;
  using file = writeDocument(document);
  const answer = openPipe(O_NONBLOCK);
  using reader = answer.reader;
  using writer = answer.writer;
  const child = children.spawn({
    path: `/proc/self/fd/${PROGRAM_FD}`,
    argv: [...options.argv, REHEARSAL_ACTION],
    env: options.env,
    stdio: [undefined, writer.fd, writer.fd, file.fd, program.fd],
    leads: "group",
  });
  writer[Symbol.dispose]();
  const timer = setTimeout(() => child.signalGroup(SIGKILL), limitMs);
  const startedAtMs = performance.now();
  const exit = await child.exited;
  clearTimeout(timer);
  const refuse = (why: string) =>
    new ShimError("failedPrecondition", `Cannot upgrade to ${path}: ${why}`);
  if (exit.signal === SIGKILL && performance.now() - startedAtMs >= limitMs) {
    throw refuse(`it did not end its self test within ${limitMs} ms`);
  }
  const text = readAnswer(reader.fd);
  if (exit.status !== 0) throw refuse(`its self test ended with status ${exit.status}: ${text}`);
  if (text !== digestDocument(document)) throw refuse("its self test did not read the document");
}

/**
 * Whether an upgrade failed for a reason that says nothing about the program: calls that did not finish,
 * or no process, descriptor or memory available for it.
 */
export function isPassing(error: unknown): boolean {
  const isHeldUp = hasReason(error, "unavailable");
  return isHeldUp || hasCode(error, "EAGAIN", "EMFILE", "ENFILE", "ENOMEM");
}

/**
 * The other side of {@link rehearse}: the words to answer with. Throws what reading throws, and an
 * Error for what this system's libc lacks.
 */
export function takePart(): string {
  bindAll();
  const bytes = readDocument(DOCUMENT_FD);
  decodeDocument(bytes);
  return digestDocument(bytes);
}

/** The output of the program, which has exited by now. */
function readAnswer(fd: number): string {
  const buffer = new Uint8Array(ANSWER_BYTES_MAX);
  try {
    const count = readFd(fd, buffer);
    return Buffer.from(buffer.subarray(0, count === "again" ? 0 : count))
      .toString()
      .trim();
  } catch (error) {
    return messageOf(error);
  }
}
