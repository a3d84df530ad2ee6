/**
 * `exit.json` in the bundle: how the container's init ended, written before anybody is told.
 *
 * It outlives the shim, so that `delete` after a crash can answer with what really happened.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomically } from "./atomic-file.ts";

const EXIT_FILE = "exit.json";
const FORMAT_VERSION = 1;

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

/** Replaces the record in the bundle. Throws what node:fs throws: ENOENT when the bundle is gone. */
export function saveExitRecord(bundle: string, record: ExitRecord): void {
  const document = {
    version: FORMAT_VERSION,
    pid: record.pid,
    exitStatus: record.exitStatus,
    signal: record.signal,
    exitedAt: record.exitedAt.toISOString(),
    oomKilled: record.oomKilled,
  };
  writeFileAtomically(join(bundle, EXIT_FILE), JSON.stringify(document), 0o600);
}

/** The record of the bundle; undefined when there is none, or none that this version can read. */
export function loadExitRecord(bundle: string): ExitRecord | undefined {
  let document: unknown;
  try {
    document = JSON.parse(readFileSync(join(bundle, EXIT_FILE), "utf8"));
  } catch {
    return undefined; // Missing or damaged comes to the same: the status is not known.
  }
  if (typeof document !== "object" || document === null) return undefined;
  const fields = new Map<string, unknown>(Object.entries(document));
  const pid = fields.get("pid");
  const exitStatus = fields.get("exitStatus");
  const signal = fields.get("signal");
  const exitedAt = fields.get("exitedAt");
  if (fields.get("version") !== FORMAT_VERSION) return undefined;
  if (typeof pid !== "number" || typeof exitStatus !== "number") return undefined;
  if (typeof signal !== "number" || typeof exitedAt !== "string") return undefined;
  const at = new Date(exitedAt);
  if (Number.isNaN(at.getTime())) return undefined;
  const oomKilled = fields.get("oomKilled") === true;
  return { pid, exitStatus, signal, exitedAt: at, oomKilled };
}
