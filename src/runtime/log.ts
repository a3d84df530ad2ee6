/**
 * The runtime's JSON log: one object a line, and of all that only the last error matters.
 *
 * runc and crun write `{"level":"error","msg":"..."}`, youki `{"level":"ERROR","fields":{"message":"..."}}`.
 * Whatever else stands in the file (a wrapper's own lines, a line cut short) is passed over.
 */

import { closeSync, fstatSync, openSync, readSync } from "node:fs";

/** As much of the end of a log as is looked at. */
const tailBytesMax = 64 * 1024;

/** The last error in the log at `path`; undefined when there is no such file or no error in it. */
export function readLastError(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return undefined; // crun makes the file only when it has something to say.
  }
  try {
    return parseLastError(readTail(fd, tailBytesMax));
  } finally {
    closeSync(fd);
  }
}

/** Up to `bytesMax` bytes from the end of a file, as text. A character cut in two becomes U+FFFD. */
export function readTail(fd: number, bytesMax: number): string {
  const { size } = fstatSync(fd);
  const buffer = Buffer.alloc(Math.min(size, bytesMax));
  const count = readSync(fd, buffer, 0, buffer.length, size - buffer.length);
  return buffer.toString("utf8", 0, count);
}

/** The message of the last line of `text` with level error or worse; trimmed, never empty. */
export function parseLastError(text: string): string | undefined {
  for (const line of text.split("\n").toReversed()) {
    const message = errorOf(line);
    if (message !== undefined) return message;
  }
  return undefined;
}

const ERROR_LEVELS: ReadonlySet<string> = new Set(["error", "fatal", "panic"]);

function errorOf(line: string): string | undefined {
  let entry: unknown;
  try {
    entry = JSON.parse(line);
  } catch {
    return undefined; // Not a line of the log, or the first one, cut.
  }
  if (!isObject(entry) || typeof entry["level"] !== "string") return undefined;
  if (!ERROR_LEVELS.has(entry["level"].toLowerCase())) return undefined;
  const fields = isObject(entry["fields"]) ? entry["fields"] : {};
  for (const candidate of [entry["msg"], entry["message"], fields["message"]]) {
    if (typeof candidate === "string" && candidate.trim() !== "") return candidate.trim();
  }
  return undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
