/**
 * The runtime's JSON log: one object per line, of which only the last error matters.
 *
 * runc and crun write `{"level":"error","msg":"..."}`, youki `{"level":"ERROR","fields":{"message":"..."}}`.
 * Anything else in the file (a wrapper's own lines, a truncated line) is skipped.
 */

import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { member, parseJson, textMember } from "../base/json.ts";

/** How much of the end of a log is read. */
const TAIL_BYTES_MAX = 64 * 1024;

/** The last error in the log at `path`; undefined when there is no such file or no error in it. */
export function readLastError(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return undefined; // crun creates the file only when it has something to say.
  }
  try {
    return parseLastError(readTail(fd, TAIL_BYTES_MAX));
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
  // Undefined if it is not a line of the log, or the first one, truncated.
  const entry = parseJson(line);
  if (!ERROR_LEVELS.has(textMember(entry, "level")?.toLowerCase() ?? "")) return undefined;
  const candidates = [
    textMember(entry, "msg"),
    textMember(entry, "message"),
    textMember(member(entry, "fields"), "message"),
  ];
  return candidates.map((text) => text?.trim()).find((text) => text);
}
