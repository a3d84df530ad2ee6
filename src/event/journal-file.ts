/**
 * `events.journal` in a bundle: events that the manager has not taken, for whatever survives this process.
 *
 * One line of JSON per event, in order, and one per event that was taken later; an incomplete line counts
 * as never written. The owner of the events holds a lock on the file, which the kernel releases when the
 * owner dies: that is how `delete` tells events that a live shim still sends from those that nobody will.
 * Nothing is synced: a bundle does not outlive a boot.
 */

import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { messageOf } from "../base/error.ts";
import { numberMember, parseJson, textMember } from "../base/json.ts";
import type { Logger } from "../base/log.ts";
import { SANDBOX_FILE } from "../bundle/bundle.ts";
import { Envelope } from "../gen/containerd/types/event.ts";
import { hasCode } from "../linux/errno.ts";
import { tryLockFile } from "../linux/file-lock.ts";
import { ownPid } from "../linux/self.ts";
import type { JournalEntry, JournalStore } from "./journal.ts";

export const JOURNAL_FILE = "events.journal";
const FILE_MODE = 0o600;
/** A file that has grown to this is rewritten with what still waits, which is less (see `journal.ts`). */
const FILE_BYTES_MAX = 8 * 1024 * 1024;

/**
 * Keeps events in the bundles that they are about, so that each is found with its task; but those of a
 * pod's further containers in the sandbox's bundle, as containerd 2 runs `delete` only for that.
 */
export class BundleJournals implements JournalStore {
  readonly #shimBundle: string;
  readonly #log: Logger;
  /** Where the events about a bundle are kept. */
  readonly #homes = new Map<string, string>();
  /** By where it is. Where the bundle is gone, or another process has the file, events are only in memory. */
  readonly #files = new Map<string, JournalFile | undefined>();
  #hasFailed = false;

  /** `shimBundle` is the one that the shim was started in. */
  constructor(shimBundle: string, log: Logger) {
    this.#shimBundle = shimBundle;
    this.#log = log;
  }

  save(entries: readonly JournalEntry[]): void {
    const failed = new Set<string>();
    for (const entry of entries) {
      const home = this.#homeOf(entry.bundle);
      if (failed.has(home)) continue;
      try {
        this.#saveOne(home, entry, entries);
      } catch (error) {
        // A full disk, most likely: retried with the next event, so that no file has a gap.
        this.#reportFailure(home, error);
        failed.add(home);
      }
    }
    this.#hasFailed = failed.size > 0;
  }

  release({ bundle, number }: JournalEntry): void {
    const home = this.#homes.get(bundle) ?? bundle;
    const file = this.#files.get(home);
    try {
      if (file === undefined || !file.release(number)) return;
      this.#files.delete(home);
      file.remove();
    } catch (error) {
      this.#reportFailure(home, error);
    }
  }

  clear(): void {
    for (const [home, file] of this.#files) {
      try {
        file?.remove();
      } catch (error) {
        this.#reportFailure(home, error);
      }
    }
    this.#files.clear();
    this.#homes.clear();
  }

  close(): void {
    for (const file of this.#files.values()) file?.[Symbol.dispose]();
    this.#files.clear();
  }

  #saveOne(home: string, entry: JournalEntry, entries: readonly JournalEntry[]): void {
    if (!this.#files.has(home)) this.#files.set(home, JournalFile.open(home));
    const file = this.#files.get(home);
    if (file === undefined || entry.number <= file.savedUpTo) return;
    if (!file.isInherited && file.bytes < FILE_BYTES_MAX) {
      file.append(entry);
      file.savedUpTo = entry.number;
      return;
    }
    const here = entries.filter(({ bundle }) => this.#homeOf(bundle) === home);
    file.rewrite(here);
    file.savedUpTo = here.at(-1)?.number ?? entry.number;
  }

  #homeOf(bundle: string): string {
    const known = this.#homes.get(bundle);
    if (known !== undefined) return known;
    const home = existsSync(join(bundle, SANDBOX_FILE)) ? this.#shimBundle : bundle;
    this.#homes.set(bundle, home);
    return home;
  }

  #reportFailure(bundle: string, error: unknown): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#log.warn("Events cannot be kept on disk", { bundle, error: messageOf(error) });
  }
}

/** The file of one bundle, locked. */
class JournalFile implements Disposable {
  readonly #path: string;
  #fd: number;
  #waiting = new Set<number>();
  #bytes: number;
  #isInherited: boolean;
  /** Number of the last event for which nothing more is to be done here. */
  savedUpTo = 0;

  private constructor(path: string, fd: number, bytes: number) {
    this.#path = path;
    this.#fd = fd;
    this.#bytes = bytes;
    this.#isInherited = bytes > 0;
  }

  /** A new one, or what an earlier process has left. Undefined without the bundle, or when another process has it. */
  static open(bundle: string): JournalFile | undefined {
    const path = join(bundle, JOURNAL_FILE);
    const { O_WRONLY, O_CREAT, O_APPEND } = constants;
    const fd = openLocked(path, O_WRONLY | O_CREAT | O_APPEND);
    return fd === undefined ? undefined : new JournalFile(path, fd, fstatSync(fd).size);
  }

  /** Whether it has what an earlier process wrote: to be replaced as a whole, so that a crash leaves one or the other. */
  get isInherited(): boolean {
    return this.#isInherited;
  }

  get bytes(): number {
    return this.#bytes;
  }

  append(entry: JournalEntry): void {
    this.#write(encodeEntry(entry));
    this.#waiting.add(entry.number);
  }

  /** Records that an event no longer waits; returns whether none does. */
  release(number: number): boolean {
    const isHere = this.#waiting.delete(number) || this.#isInherited;
    if (this.#waiting.size === 0 && !this.#isInherited) return true;
    if (isHere) this.#write(`{"taken":${number}}\n`);
    return false;
  }

  /** Replaces this file with one of `entries` only, all or nothing; does nothing if the bundle is gone. */
  rewrite(entries: readonly JournalEntry[]): void {
    const temporary = join(dirname(this.#path), `.${JOURNAL_FILE}.${ownPid()}`);
    rmSync(temporary, { force: true }); // It can only be that of a dead process with the same pid.
    const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND } = constants;
    const fd = openIfThere(temporary, O_WRONLY | O_CREAT | O_EXCL | O_APPEND);
    if (fd === undefined) return;
    const text = entries.map(encodeEntry).join("");
    try {
      // Locked before it has its name: nobody must find it there without an owner.
      tryLockFile(fd);
      writeAll(fd, text);
      renameSync(temporary, this.#path);
    } catch (error) {
      closeSync(fd);
      rmSync(temporary, { force: true });
      throw error;
    }
    closeSync(this.#fd);
    this.#fd = fd;
    this.#isInherited = false;
    this.#bytes = Buffer.byteLength(text);
    this.#waiting = new Set(entries.map(({ number }) => number));
  }

  remove(): void {
    try {
      rmSync(this.#path, { force: true });
    } finally {
      this[Symbol.dispose]();
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  #write(text: string): void {
    try {
      writeAll(this.#fd, text);
    } catch (error) {
      ftruncateSync(this.#fd, this.#bytes); // Half a line would spoil the next.
      throw error;
    }
    this.#bytes += Buffer.byteLength(text);
  }
}

/** The events that a dead process has left: the store of whoever sends them. */
export interface LeftJournal extends JournalStore, Disposable {
  /** Lent, with the lock: whoever is given a duplicate keeps others away. */
  readonly fd: number;
  /** Those that were never taken, oldest first. */
  readonly entries: readonly JournalEntry[];
}

/** Whether {@link takeLeftJournal} has anything to look at. */
export function hasLeftJournal(bundle: string): boolean {
  return existsSync(join(bundle, JOURNAL_FILE));
}

/**
 * The events in `bundle` that nobody else is sending. Undefined when there are none, or when a live
 * process still has them. Throws what node:fs throws for a file that cannot be read.
 */
export function takeLeftJournal(bundle: string): LeftJournal | undefined {
  const path = join(bundle, JOURNAL_FILE);
  const fd = openLocked(path, constants.O_RDWR | constants.O_APPEND);
  if (fd === undefined) return undefined;
  return {
    fd,
    entries: readEntries(readFileSync(path, "utf8"), bundle),
    save: () => {},
    release: ({ number }) => tryTo(() => writeAll(fd, `{"taken":${number}}\n`)),
    clear: () => tryTo(() => rmSync(path, { force: true })),
    close: () => {},
    [Symbol.dispose]: () => closeSync(fd),
  };
}

/** Reads the lines of a journal, skipping what cannot be read. */
export function readEntries(text: string, bundle: string): readonly JournalEntry[] {
  const waiting = new Map<number, JournalEntry>();
  for (const line of text.split("\n")) {
    // Undefined at the end of a file whose writer died, or whose disk was full.
    const record = parseJson(line);
    const taken = numberMember(record, "taken");
    if (taken !== undefined) waiting.delete(taken);
    const number = numberMember(record, "number");
    const encoded = textMember(record, "envelope");
    if (number === undefined || !Number.isSafeInteger(number) || encoded === undefined) continue;
    try {
      const envelope = Envelope.decode(Buffer.from(encoded, "base64"));
      waiting.set(number, { number, bundle, envelope });
    } catch {
      // Damaged: the others are not.
    }
  }
  return [...waiting.values()];
}

function encodeEntry({ number, envelope }: JournalEntry): string {
  const encoded = Buffer.from(Envelope.encode(envelope).finish()).toString("base64");
  // The topic is for people who read the file.
  return `${JSON.stringify({ number, topic: envelope.topic, envelope: encoded })}\n`;
}

/** Undefined where no such file can be, or another process has it. */
function openLocked(path: string, flags: number): number | undefined {
  const fd = openIfThere(path, flags);
  if (fd === undefined) return undefined;
  using undo = new DisposableStack();
  undo.defer(() => closeSync(fd));
  const isLocked = tryLockFile(fd);
  const [there, own] = [lstatSync(path, { throwIfNoEntry: false }), fstatSync(fd)];
  // Its last owner replaced or removed it before the lock was ours: nobody would find what is written to it.
  if (there?.ino !== own.ino || there.dev !== own.dev) return openLocked(path, flags);
  if (!isLocked) return undefined;
  undo.move();
  return fd;
}

/** A link in its place is an error: its target is not ours to lock, truncate and write to. */
function openIfThere(path: string, flags: number): number | undefined {
  try {
    return openSync(path, flags | constants.O_NOFOLLOW, FILE_MODE);
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}

function writeAll(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
}

function tryTo(write: () => void): void {
  try {
    write();
  } catch {
    // The disk is full, or cannot be written to any more: it may be sent once more.
  }
}
