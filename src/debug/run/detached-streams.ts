/** The streams of a container that is left to its shim. */

import { lstatSync } from "node:fs";
import { join, resolve } from "node:path";
import { hasCode } from "../../linux/errno.ts";
import { makeFifo } from "../../linux/fifo.ts";
import type { StreamPaths } from "../stream/container-streams.ts";
import type { RunPlan } from "./run-plan.ts";

const FIFO_MODE = 0o600;

/**
 * Output goes to the log file, or is discarded. A terminal without one gets FIFOs in the bundle, for
 * `shim attach`: its program blocks when it has written more than those hold. Throws SystemError.
 */
export function openDetachedStreams({ bundle, isTerminal, logFile }: RunPlan): StreamPaths {
  if (logFile !== undefined) return { stdin: "", ...logPaths(logFile, isTerminal) };
  if (!isTerminal) return { stdin: "", stdout: "", stderr: "" };
  const make = (name: string) => {
    const path = join(bundle, name);
    try {
      makeFifo(path, FIFO_MODE);
    } catch (error) {
      // Left by a shim that was killed: as good as a new one.
      if (!hasCode(error, "EEXIST") || !lstatSync(path).isFIFO()) throw error;
    }
    return path;
  };
  return { stdin: make("stdin"), stdout: make("stdout"), stderr: "" };
}

/** A terminal has one output. */
export function logPaths(file: string, isTerminal: boolean): Omit<StreamPaths, "stdin"> {
  const uri = `file://${resolve(file)}`;
  return { stdout: uri, stderr: isTerminal ? "" : uri };
}
