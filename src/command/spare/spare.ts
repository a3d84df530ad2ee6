/**
 * A spare: a process whose shim has ended, and which waits some seconds for another to be wanted.
 *
 * What a shim's start costs is its engine: starting it, loading the program, running each part of it for
 * the first time. A spare has all of that behind it. It keeps nothing of its last shim but what the engine
 * knows of the program, or it is not fit to be one: `isFit`. It waits as a process of its own
 * (`linux/new-process.ts`), so that the end of a shim is the end of a process, as always.
 *
 * A launcher finds spares in a directory of their kin (src/native/kin.h): those of the same program,
 * environment, namespaces, cgroup, rights and limits, which means that it would become just such a process
 * itself. The protocol is in src/native/hire.h.
 */

import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { ownKilobytesLeft } from "../../cgroup/memory-left.ts";
import { hasChildren } from "../../linux/children.ts";
import { changeCommandLine } from "../../linux/command-line.ts";
import { hasCode } from "../../linux/errno.ts";
import { O_RDWR, type OwnedFd, openFd, replaceFd, writeFd } from "../../linux/fd.ts";
import { availableKilobytes, roughPrivateKilobytes } from "../../linux/memory.ts";
import { moveToNewProcess } from "../../linux/new-process.ts";
import { writeOomScore } from "../../linux/oom-score.ts";
import { peerCredentials } from "../../linux/peer-credentials.ts";
import { waitForAny, waitUntilReady } from "../../linux/poll.ts";
import { acceptUnix, listenUnix, type Message, receiveMessage } from "../../linux/scm-rights.ts";
import { countThreads, ownPid } from "../../linux/self.ts";
import { openSignals } from "../../linux/signals.ts";
import { HEEDED_SIGNALS } from "../invocation/daemon-settings.ts";

/** For the directories of kin. */
export const SPARES_DIRECTORY = "/run/wedge";
/** What a spare says to whoever has taken it: it is ready for a command line. */
export const SPARE_READY = 0x77;
/** Its answer to what it does not understand; not an exit code of `start`. */
export const SPARE_REFUSES = 0x78;
/** The longest command line that is sent. */
export const SPARE_WORDS_BYTES = 8192;

/** Prefix of a socket's name while nobody listens on it yet; launchers pass over it. */
const EARLY = ".";
const DIRECTORY_MODE = 0o700;
/** The most spares that wait on a host: it will hardly start more containers than this within seconds. */
const SPARES_MAX = 64;
/** Share of the available memory that all spares together may take, if each is as large as it may become. */
const MEMORY_SHARE = 1 / 16;
/**
 * A spare that has grown past this exits: after some ten lives. Each life leaves half a megabyte of garbage,
 * and collecting that would cost more than starting an engine now and then.
 */
const KILOBYTES_MAX = 10 * 1024;
/** At this age a spare's socket counts as abandoned, if nothing else tells. */
const LEFT_MS = 3_600_000;
const LISTEN_ATTEMPTS = 5;
/** Whoever has taken a spare's name says at once what is wanted. */
const REQUEST_LIMIT_MS = 1000;
/** As the launcher lends them: streams, then the directory. */
const STREAMS = 3;
/** What the engine itself waits with, one of each. */
const ENGINE_DESCRIPTORS: readonly string[] = ["anon_inode:[eventfd]", "anon_inode:[eventpoll]"];

export interface SpareOptions {
  /** The kin of this process when it was launched. */
  readonly kin: string;
  /** As it was when this process was launched. */
  readonly oomScore: number | undefined;
}

/** What a spare is wanted for. Its streams are already this process's. Disposing it lets go of the launcher. */
export interface Hire extends Disposable {
  /** The command line, the program's name first. */
  readonly words: readonly string[];
  /** Takes the exit code of `start`. */
  readonly channel: number;
  readonly managerPid: number;
  /** The directory to work in, by a name that is valid for as long as this is. */
  readonly directory: string;
}

/** A process that waits to be hired, without the event loop. */
export class Spare {
  readonly #options: SpareOptions;

  private constructor(options: SpareOptions) {
    this.#options = options;
  }

  /**
   * Makes a spare of this process, which is a new process afterwards; undefined where it is not fit to be
   * one, or there are enough. Throws SystemError, and what node:fs throws. Without a spare, either way, the
   * process is to exit.
   */
  static become(options: SpareOptions): Spare | undefined {
    const directory = join(SPARES_DIRECTORY, options.kin);
    if (!isFit() || !hasRoom(directory) || !isPrivate(directory)) return undefined;
    moveToNewProcess();
    return new Spare(options);
  }

  /**
   * Waits `waitMs` for somebody who wants this spare. Undefined when nobody has come, whoever came wants
   * nothing that is understood, or a signal asks for the end; the process is then to exit.
   * Throws as {@link become} does.
   */
  wait(waitMs: number): Hire | undefined {
    const { kin, oomScore } = this.#options;
    process.chdir("/");
    takeNoStreams();
    changeCommandLine(["wedge", "spare"], "wedge-spare");
    if (oomScore !== undefined && !writeOomScore("self", oomScore)) return undefined;
    using undo = new DisposableStack();
    const listener = undo.use(listen(join(SPARES_DIRECTORY, kin), undo));
    const signals = undo.use(openSignals(HEEDED_SIGNALS));
    const ready = waitForAny([signals.fd, listener.fd], waitMs);
    // The caller has taken the name: if nothing comes of it, nobody else can find this spare.
    return ready === listener.fd ? accept(listener.fd, undo) : undefined;
  }
}

/** Whether nothing is left of the shim that this process was, and nobody has asked it to end. */
function isFit(): boolean {
  using signals = openSignals(HEEDED_SIGNALS);
  if (waitUntilReady(signals.fd, "readable", 0)) return false;
  const open = readdirSync("/proc/self/fd").map(Number);
  const kept = open.filter((fd) => fd >= STREAMS && fd !== signals.fd).flatMap(targetOf);
  return (
    kept.toSorted().join() === ENGINE_DESCRIPTORS.join() &&
    countThreads() === 1 &&
    !hasChildren() &&
    roughPrivateKilobytes() <= KILOBYTES_MAX
  );
}

/** None for the descriptor that listed the others, which is closed by now. */
function targetOf(fd: number): readonly string[] {
  try {
    return [readlinkSync(`/proc/self/fd/${fd}`)];
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}

function takeNoStreams(): void {
  using none = openFd("/dev/null", O_RDWR);
  for (let stream = 0; stream < STREAMS; stream++) replaceFd(none.fd, stream);
}

/** Whether there is room for one more spare, of any kin. Removes what killed spares have left. */
function hasRoom(directory: string): boolean {
  let count = 0;
  for (const path of socketsOfSpares()) {
    if (isLeft(path, directory)) removeSpare(path);
    else count++;
  }
  const left = Math.min(availableKilobytes(), ownKilobytesLeft());
  return count < Math.min(SPARES_MAX, Math.floor((left * MEMORY_SHARE) / KILOBYTES_MAX));
}

function socketsOfSpares(): readonly string[] {
  try {
    return readdirSync(SPARES_DIRECTORY, { recursive: true, withFileTypes: true }).flatMap(
      (entry) => (entry.isSocket() ? [join(entry.parentPath, entry.name)] : []),
    );
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}

/** Whether a spare's socket is abandoned. Those of other kin may be of another pid namespace: they must be old. */
function isLeft(path: string, directory: string): boolean {
  if (existsSync(`/proc/${basename(path).replace(EARLY, "")}`)) return false;
  if (dirname(path) === directory) return true;
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.ctimeMs > LEFT_MS;
}

/** Whether only this user can put anything where spares are found; launchers check the same. */
function isPrivate(directory: string): boolean {
  mkdirSync(SPARES_DIRECTORY, { recursive: true, mode: DIRECTORY_MODE });
  return [SPARES_DIRECTORY, directory].every((path) => {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return true;
    return stat.isDirectory() && stat.uid === process.geteuid?.() && (stat.mode & 0o077) === 0;
  });
}

/** By a name that nobody looks for, until it listens; `undo` removes both names, whoever has it by then. */
function listen(directory: string, undo: DisposableStack): OwnedFd {
  const path = join(directory, String(ownPid()));
  const early = join(directory, `${EARLY}${ownPid()}`);
  undo.defer(() => removeSpare(path));
  undo.defer(() => removeSpare(early));
  for (let attempt = 1; ; attempt++) {
    try {
      mkdirSync(directory, { recursive: true, mode: DIRECTORY_MODE });
      using attempted = new DisposableStack();
      const listener = attempted.use(listenUnix(early, "packets"));
      renameSync(early, path);
      attempted.move();
      return listener;
    } catch (error) {
      // Others remove a directory that is empty.
      if (!hasCode(error, "ENOENT") || attempt === LISTEN_ATTEMPTS) throw error;
    }
  }
}

/** Undefined when the caller wants nothing, or no longer waits: it has made a shim of its own. */
function accept(listener: number, place: DisposableStack): Hire | undefined {
  const connection = acceptUnix(listener);
  if (connection === "again") return undefined;
  using undo = new DisposableStack();
  undo.use(connection);
  if (peerCredentials(connection.fd).uid !== process.geteuid?.()) return undefined;
  const message = converse(connection.fd);
  for (const fd of message?.descriptors ?? []) undo.use(fd);
  const hire = message && read(message);
  if (hire === undefined) return undefined;
  message?.descriptors.slice(0, STREAMS).forEach((fd, stream) => {
    replaceFd(fd.fd, stream);
    fd[Symbol.dispose]();
  });
  const owned = undo.move();
  owned.use(place.move());
  return {
    ...hire,
    channel: connection.fd,
    [Symbol.dispose]: () => owned[Symbol.dispose](),
  };
}

/** What the caller at the other end wants; undefined when it has left, or wants what is not understood. */
function converse(connection: number): Message | undefined {
  try {
    writeFd(connection, Uint8Array.of(SPARE_READY));
    if (!waitUntilReady(connection, "readable", REQUEST_LIMIT_MS)) return undefined;
    const message = receiveMessage(connection, SPARE_WORDS_BYTES);
    if (message === "again" || message.bytes.length === 0) return undefined;
    if (read(message) === undefined) writeFd(connection, Uint8Array.of(SPARE_REFUSES));
    return message;
  } catch (error) {
    if (hasCode(error, "EPIPE", "ECONNRESET")) return undefined;
    throw error;
  }
}

function read({
  bytes,
  descriptors,
}: Message): Pick<Hire, "words" | "managerPid" | "directory"> | undefined {
  const [launcher = "", ...words] = Buffer.from(bytes).toString().split("\0").slice(0, -1);
  const managerPid = Number.parseInt(launcher, 10);
  const directory = descriptors[STREAMS];
  if (directory === undefined || words.length === 0 || Number.isNaN(managerPid)) return undefined;
  return { words, managerPid, directory: `/proc/self/fd/${directory.fd}` };
}

/**
 * Removes a spare's socket, and the directories that are empty then. What cannot be removed stays: it is
 * in nobody's way, and must not end a shim that has just been started.
 */
function removeSpare(path: string): void {
  try {
    rmSync(path, { force: true });
    rmdirSync(dirname(path));
    rmdirSync(SPARES_DIRECTORY);
  } catch {
    // Usually it is not empty.
  }
}
