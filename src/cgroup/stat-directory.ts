/**
 * Directories of the small text files in which the kernel keeps its accounts.
 *
 * All reads are synchronous: cgroupfs and procfs answer from memory, in a few microseconds, of which
 * opening and closing the file take five sixths. So the files of a container whose figures are polled
 * stay open; a process that executes another program lets go of them (O_CLOEXEC).
 */

import { openSync, readFileSync, readSync } from "node:fs";
import { descriptorLimit } from "../linux/descriptor-limit.ts";
import { hasCode } from "../linux/errno.ts";
import { O_RDONLY, OwnedFd } from "../linux/fd.ts";

/** ENODEV: the cgroup went away between open and read. EOPNOTSUPP: the kernel has the file disabled. */
const ABSENT = ["ENOENT", "ENODEV", "ENOTDIR", "ENXIO", "EOPNOTSUPP", "ENOTSUP"];
/** Saving a few microseconds is worth at most so many descriptors, and one in so many of those available. */
const OPEN_MAX = 512;
const LIMIT_SHARE = 8;
const CHUNK_BYTES = 16 * 1024;
/** The kernel returns as many whole records as fit into a page: a shorter read is the last. */
const PIECE_BYTES = 2048;
/** Readings do not overlap. */
const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);

export interface StatDirectory {
  /** The text of a file, or undefined when there is none (any more). Throws for other refusals, such as EACCES. */
  read(name: string): string | undefined;
}

/** The directory at `path`; each reading opens the file anew. */
export function statDirectory(path: string): StatDirectory {
  return { read: (name) => unlessAbsent(() => readFileSync(`${path}/${name}`, "latin1")) };
}

/** Directories whose files stay open between readings, until it is disposed. */
export class OpenStatFiles implements Disposable {
  static #count = 0;
  readonly #files = new Map<string, OwnedFd>();

  /** The directory at `path`. */
  directory(path: string): StatDirectory {
    return { read: (name) => unlessAbsent(() => this.#read(`${path}/${name}`)) };
  }

  [Symbol.dispose](): void {
    for (const path of [...this.#files.keys()]) this.#close(path);
  }

  #read(path: string): string {
    const known = this.#files.get(path);
    if (known !== undefined) {
      try {
        return readFrom(known);
      } catch (error) {
        // Another cgroup may have the name by now.
        this.#close(path);
        if (!hasCode(error, ...ABSENT)) throw error;
      }
    }
    const max = Math.min(OPEN_MAX, descriptorLimit() / LIMIT_SHARE);
    if (OpenStatFiles.#count >= max) return readFileSync(path, "latin1");
    using undo = new DisposableStack();
    const file = undo.use(new OwnedFd(openSync(path, O_RDONLY)));
    const text = readFrom(file);
    undo.move();
    this.#files.set(path, file);
    OpenStatFiles.#count++;
    return text;
  }

  #close(path: string): void {
    this.#files.get(path)?.[Symbol.dispose]();
    if (this.#files.delete(path)) OpenStatFiles.#count--;
  }
}

/** From the beginning, which makes the kernel generate the text anew. */
function readFrom({ fd }: OwnedFd): string {
  let text = "";
  for (;;) {
    const count = readSync(fd, chunk, 0, CHUNK_BYTES, text.length);
    text += chunk.toString("latin1", 0, count);
    if (count < PIECE_BYTES) return text;
  }
}

function unlessAbsent(read: () => string): string | undefined {
  try {
    return read();
  } catch (error) {
    if (hasCode(error, ...ABSENT)) return undefined;
    throw error;
  }
}
