/**
 * `exit.json` in the bundle: how the container's init ended, written before anybody is told.
 *
 * It outlives the shim, so that `delete` after a crash can answer with what really happened. Execs have
 * none: nobody can ask for it once the shim is gone, and what clients wait for is the event, which the
 * journal keeps.
 */

import { closeSync, constants, openSync, readlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { member, numberMember, parseJson, textMember } from "../base/json.ts";
import { hasCode } from "../linux/errno.ts";
import { SIGKILL } from "../linux/signals.ts";
import { readText } from "../linux/text-file.ts";
import { linkAtomically, writeFileAtomically } from "./atomic-file.ts";
import { INIT_PID_FILE } from "./bundle.ts";

export const EXIT_FILE = "exit.json";
/** The exit status of a process that SIGKILL has ended, as shells report it for their children. */
export const KILLED_STATUS = 128 + SIGKILL;
const FORMAT_VERSION = 1;
/** To an existing file that is not a link. */
const APPEND_FLAGS = constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW;

/** The end of an init process. */
export interface ExitRecord {
  readonly pid: number;
  /** 0-255: the exit code, or 128 + signal. */
  readonly exitStatus: number;
  /** The signal that killed it, or 0. */
  readonly signal: number;
  readonly exitedAt: Date;
  readonly oomKilled: boolean;
}

/**
 * Replaces the record in the bundle. On a full disk it is put after the pid in `init.pid`: that file
 * exists before the container runs, and the rest of its first block is allocated. If no descriptor is
 * left, `exit.json` is a symbolic link whose target is the record: symlink(2) needs none. Throws what
 * node:fs throws: ENOENT when the bundle is gone.
 */
export function saveExitRecord(bundle: string, record: ExitRecord): void {
  const text = JSON.stringify({
    version: FORMAT_VERSION,
    pid: record.pid,
    exitStatus: record.exitStatus,
    signal: record.signal,
    exitedAt: record.exitedAt.toISOString(),
    oomKilled: record.oomKilled,
  });
  const path = join(bundle, EXIT_FILE);
  try {
    writeFileAtomically(path, text, 0o600);
  } catch (error) {
    if (hasCode(error, "EMFILE", "ENFILE")) linkAtomically(path, text);
    // One write of a few bytes within an allocated block is done whole or not at all.
    else if (hasCode(error, "ENOSPC", "EDQUOT")) appendLine(join(bundle, INIT_PID_FILE), text);
    else throw error;
  }
}

function appendLine(path: string, line: string): void {
  const fd = openSync(path, APPEND_FLAGS);
  try {
    writeSync(fd, `\n${line}`);
  } finally {
    closeSync(fd);
  }
}

/** The record of the bundle; undefined when there is none, or none that this version can read. */
export function loadExitRecord(bundle: string): ExitRecord | undefined {
  const path = join(bundle, EXIT_FILE);
  const text = readText(path) ?? readTarget(path);
  const spare = readText(join(bundle, INIT_PID_FILE))?.split("\n").at(1);
  return parseRecord(text) ?? parseRecord(spare);
}

function readTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** Missing and damaged come to the same: the status is not known. */
function parseRecord(text: string | undefined): ExitRecord | undefined {
  const document = parseJson(text);
  if (member(document, "version") !== FORMAT_VERSION) return undefined;
  const pid = numberMember(document, "pid");
  const exitStatus = numberMember(document, "exitStatus");
  const signal = numberMember(document, "signal");
  const exitedAt = new Date(textMember(document, "exitedAt") ?? "");
  if (pid === undefined || exitStatus === undefined || signal === undefined) return undefined;
  if (Number.isNaN(exitedAt.getTime())) return undefined;
  const oomKilled = member(document, "oomKilled") === true;
  return { pid, exitStatus, signal, exitedAt, oomKilled };
}
