/** The program that a process runs: which one it is, and exchanging it for another (execve(2)). */

import { ptr } from "bun:ffi";
import { fstatSync, readFileSync, readlinkSync } from "node:fs";
import { ShimError } from "../base/error.ts";
import { plain, record, type Shaped } from "../base/shape.ts";
import { cStringArray } from "./bytes.ts";
import { errno, SystemError } from "./errno.ts";
import { O_PATH, type OwnedFd, openFd } from "./fd.ts";
import { selfTable } from "./libc.ts";

/** The program of this process, wherever its file has gone. */
export const OWN_PROGRAM = "/proc/self/exe";
const EXECUTABLE_BITS = 0o111;
const DELETED_SUFFIX = " (deleted)";

/** A link in /proc to a file: where that is or was, and whether it is no longer there (proc(5)). */
export interface LinkedFile {
  readonly path: string;
  readonly isDeleted: boolean;
}

/** What the text of such a link says. */
export function parseLink(link: string): LinkedFile {
  const isDeleted = link.endsWith(DELETED_SUFFIX);
  return { path: isDeleted ? link.slice(0, -DELETED_SUFFIX.length) : link, isDeleted };
}

/** The file of this process's program. */
export function ownProgramFile(): LinkedFile {
  return parseLink(readlinkSync(OWN_PROGRAM));
}

/**
 * A handle on the program at `path`: its holder executes this very file, not another that takes its
 * place. Throws ShimError `invalidArgument` for what cannot be executed, SystemError.
 */
export function openProgram(path: string): OwnedFd {
  const program = openFd(path, O_PATH);
  const stat = fstatSync(program.fd);
  if (stat.isFile() && (stat.mode & EXECUTABLE_BITS) !== 0) return program;
  program[Symbol.dispose]();
  throw new ShimError("invalidArgument", `Cannot run ${path}: it is not an executable file`);
}

/** A file with its present content; numbers as text, as they may have 64 bits. */
export const programIdentityState = record({ device: plain, inode: plain, modifiedNs: plain });
export type ProgramIdentity = Shaped<typeof programIdentityState>;

/** Which program `fd` is a handle on. */
export function programIdentity(fd: number): ProgramIdentity {
  const { dev, ino, mtimeNs } = fstatSync(fd, { bigint: true });
  return { device: String(dev), inode: String(ino), modifiedNs: String(mtimeNs) };
}

export function isSameProgram(one: ProgramIdentity, other: ProgramIdentity): boolean {
  return (
    one.inode === other.inode && one.device === other.device && one.modifiedNs === other.modifiedNs
  );
}

/** The command line that this process was started with, the program's own name first. */
export function commandLine(): readonly string[] {
  return readFileSync("/proc/self/cmdline", "utf8").split("\0").slice(0, -1);
}

/**
 * Executes another program in the same process: it keeps the children, the descriptors that are not
 * close-on-exec, pending signals and the mask of this thread. Returns only by throwing SystemError
 * (ENOENT, EACCES, ENOEXEC, ENOMEM), with everything unchanged.
 */
export function executeProgram(
  program: number,
  argv: readonly string[],
  env: readonly string[],
): never {
  const words = cStringArray(argv);
  const variables = cStringArray(env);
  selfTable().fexecve(program, ptr(words.pointers), ptr(variables.pointers));
  throw new SystemError("execve", errno());
}
