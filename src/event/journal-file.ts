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
import type { Logger } from "../base/log.ts";
import { SANDBOX_FILE } from "../bundle/bundle.ts";
import { Envelope } from "../gen/containerd/types/event.ts";
import { hasCode } from "../linux/errno.ts";
import { tryLockFile } from "../linux/file-lock.ts";
import { ownPid } from "../linux/self.ts";
import type { JournalEntry } from "./journal.ts";

export const JOURNAL_FILE = "events.journal";
const FILE_MODE = 0o600;
/** A file that has grown to this is rewritten with what still waits, which is less (see `journal.ts`). */
const FILE_BYTES_MAX = 8 * 1024 * 1024;

/** Where events are kept beyond this process. Nothing here throws. */
export interface JournalStore {
  /** Keeps those of `entries` (all that wait, oldest first) that are not kept yet. */
  save(entries: readonly JournalEntry[]): void;
  /** An event no longer needs to be kept: it was taken, or given up. */
  release(entry: JournalEntry): void;
  /** Keeps nothing any more: everything was taken. */
  clear(): void;
  /** Lets go of the files and leaves them to whoever cleans up. */
  close(): void;
}

/** For a process whose events nobody would look for. */
export const NO_STORE: JournalStore = {
  save: () => {},
  release: () => {},
  clear: () => {},
  close: () => {},
};

/**
 * Keeps events in the bundles that they are about, so that each is found with its task; but those of a
 * pod's further containers in the sandbox's bundle, as containerd 2 runs `delete` only for that.
 */
export class BundleJournals implements JournalStore {
  readonly #shimBundle: string;
  readonly #log: Logger;
  /** Where the events about a bundle are kept. */
  readonly #homes = new Map<string, string>();
  readonly #files = new Map<string, JournalFile>();
  /** Bundles that are gone, or whose file another process has: their events are only in memory. */
  readonly #refused = new Set<string>();
  /** Up to which number nothing more is to be done, by where events are kept. */
  readonly #savedUpTo = new Map<string, number>();
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
      if (failed.has(home) || entry.number <= (this.#savedUpTo.get(home) ?? 0)) continue;
      try {
        this.#saveOne(entry, entries);
        this.#savedUpTo.set(home, entry.number);
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
    if (file === undefined) return;
    try {
      if (file.release(number) > 0) return;
      this.#files.delete(home);
      file.remove();
    } catch (error) {
      this.#reportFailure(home, error);
    }
  }

  clear(): void {
    for (const file of this.#files.values()) file.remove();
    this.#files.clear();
    this.#refused.clear();
    this.#homes.clear();
    this.#savedUpTo.clear();
  }

  close(): void {
    for (const file of this.#files.values()) file[Symbol.dispose]();
    this.#files.clear();
  }

  #saveOne(entry: JournalEntry, entries: readonly JournalEntry[]): void {
    const home = this.#homeOf(entry.bundle);
    if (this.#refused.has(home)) return;
    const file = this.#files.get(home) ?? JournalFile.create(home);
    if (file === undefined) {
      this.#refused.add(home);
      return;
    }
    this.#files.set(home, file);
    if (file.bytes < FILE_BYTES_MAX) {
      file.append([entry]);
      return;
    }
    const isHere = ({ bundle, number }: JournalEntry) =>
      number <= entry.number && this.#homeOf(bundle) === home;
    file.rewrite(entries.filter(isHere));
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
  #bytes = 0;

  private constructor(path: string, fd: number) {
    this.#path = path;
    this.#fd = fd;
  }

  /** A new, empty one. Undefined without the bundle, or when another process has the file. */
  static create(bundle: string): JournalFile | undefined {
    const path = join(bundle, JOURNAL_FILE);
    const { O_WRONLY, O_CREAT, O_APPEND } = constants;
    const fd = openIfThere(path, O_WRONLY | O_CREAT | O_APPEND);
    if (fd === undefined) return undefined;
    using undo = new DisposableStack();
    undo.defer(() => closeSync(fd));
    const isLocked = tryLockFile(fd);
    // Its last owner was done with it before the lock was ours: nobody would find what is written here.
    if (!isAt(path, fd)) return JournalFile.create(bundle);
    if (!isLocked) return undefined;
    ftruncateSync(fd);
    undo.move();
    return new JournalFile(path, fd);
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Appends all or none. */
  append(entries: readonly JournalEntry[]): void {
    this.#write(entries.map(encodeEntry).join(""));
    for (const { number } of entries) this.#waiting.add(number);
  }

  /** Records that an event no longer waits; returns how many still do. */
  release(number: number): number {
    if (this.#waiting.delete(number) && this.#waiting.size > 0) {
      this.#write(`{"taken":${number}}\n`);
    }
    return this.#waiting.size;
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
    this.#bytes = Buffer.byteLength(text);
    this.#waiting = new Set(entries.map(({ number }) => number));
  }

  remove(): void {
    rmSync(this.#path, { force: true });
    this[Symbol.dispose]();
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

/** The events that a dead process has left. */
export interface LeftJournal extends Disposable {
  /** Lent, with the lock: whoever is given a duplicate keeps others away. */
  readonly fd: number;
  /** Those that were never taken, oldest first. */
  readonly entries: readonly JournalEntry[];
  /** Records that an event was taken after all. Never throws. */
  release(entry: JournalEntry): void;
  remove(): void;
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
  const fd = openIfThere(path, constants.O_RDWR | constants.O_APPEND);
  if (fd === undefined) return undefined;
  if (!tryLockFile(fd)) {
    closeSync(fd);
    return undefined;
  }
  if (!isAt(path, fd)) {
    // Its owner replaced or removed it before the lock was ours.
    closeSync(fd);
    return takeLeftJournal(bundle);
  }
  return {
    fd,
    entries: readEntries(readFileSync(path, "utf8"), bundle),
    release: ({ number }) => {
      try {
        writeAll(fd, `{"taken":${number}}\n`);
      } catch {
        // With a full disk it may be sent once more.
      }
    },
    remove: () => rmSync(path, { force: true }),
    [Symbol.dispose]: () => closeSync(fd),
  };
}

function isAt(path: string, fd: number): boolean {
  const [there, own] = [lstatSync(path, { throwIfNoEntry: false }), fstatSync(fd)];
  return there?.ino === own.ino && there.dev === own.dev;
}

/** Reads the lines of a journal, skipping what cannot be read. */
export function readEntries(text: string, bundle: string): readonly JournalEntry[] {
  const waiting = new Map<number, JournalEntry>();
  for (const line of text.split("\n")) {
    const fields = parseLine(line);
    const taken = fields.get("taken");
    if (typeof taken === "number") waiting.delete(taken);
    const number = fields.get("number");
    const encoded = fields.get("envelope");
    if (typeof number !== "number" || !Number.isSafeInteger(number)) continue;
    if (typeof encoded !== "string") continue;
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

function parseLine(line: string): ReadonlyMap<string, unknown> {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null) return new Map(Object.entries(value));
  } catch {
    // The end of a file whose writer died, or whose disk was full.
  }
  return new Map();
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
