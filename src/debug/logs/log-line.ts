/** Turns lines of a log file back into what the container wrote, for the forms that wedge writes (`?format=`). */

import { member, parseJson, textMember } from "../../base/json.ts";

export type LogForm = "raw" | "cri" | "json";

/** A piece of output. `at` is "" where the form does not say. */
export interface LogPiece {
  readonly at: string;
  readonly stream: "stdout" | "stderr";
  /** With its newline, unless the line is unfinished. */
  readonly text: string;
}

/** TIME STREAM TAG TEXT: tag F ends a line, P does not. */
const CRI_LINE = /^(\S+) (stdout|stderr) ([FP])(?::\S*)? ?([\s\S]*)$/;

/** Reads one line, without its newline. A line that is not of the form is returned as it is. */
export function parseLogLine(line: string, form: LogForm): LogPiece {
  const plain: LogPiece = { at: "", stream: "stdout", text: `${line}\n` };
  if (form === "raw") return plain;
  return (form === "cri" ? parseCri(line) : parseJsonLine(line)) ?? plain;
}

function parseCri(line: string): LogPiece | undefined {
  const [, at = "", stream, tag, text = ""] = CRI_LINE.exec(line) ?? [];
  if (stream === undefined) return undefined;
  return {
    at,
    stream: stream === "stderr" ? "stderr" : "stdout",
    text: tag === "F" ? `${text}\n` : text,
  };
}

function parseJsonLine(line: string): LogPiece | undefined {
  const record = parseJson(line);
  const text = member(record, "log");
  if (typeof text !== "string") return undefined;
  const stream = member(record, "stream") === "stderr" ? "stderr" : "stdout";
  return { at: textMember(record, "time") ?? "", stream, text };
}
