/** `shim logs`: what a container has written, where that goes to a file. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { messageOf } from "../../base/error.ts";
import { ANSWER_TIMEOUT_MS, callFailure, connectShim, type ShimConnection } from "../connection.ts";
import { findShims } from "../host/shims.ts";
import { findTarget } from "../host/target.ts";
import { type LogForm, type LogPiece, parseLogLine } from "../logs/log-line.ts";
import { asideFiles, LogReader } from "../logs/log-reader.ts";
import { EXIT_FAILURE, Refusal, usageError } from "../refusal.ts";
import { type Context, newVerb } from "../verb.ts";

/** Between two looks at a followed file. */
const LOOK_MS = 200;

const TEXT = {
  summary: "show what a container has written to its log file",
  description: `Shows the output of a container whose stdio goes to a file (file:// in the Task API), in any form that
wedge writes: raw, CRI or JSON records; rotated files come first.

Output that goes to FIFOs belongs to their reader: a manager, which has its own command for it.`,
  examples: [
    { line: "shim logs web", what: "all that is there" },
    { line: "shim logs web -f --tail 20", what: "the last lines, and new ones until it ends" },
    { line: "shim logs web --timestamps", what: "with the time of each record" },
  ],
};

interface LogsOptions {
  readonly namespace?: string | undefined;
  readonly exec?: string | undefined;
  readonly follow?: true | undefined;
  readonly tail?: number | undefined;
  readonly timestamps?: true | undefined;
}

interface LogPlace {
  readonly path: string;
  readonly form: LogForm;
}

export function logs(context: Context): CommandUnknownOpts {
  return newVerb("logs", TEXT)
    .argument("<container>", "see shim help names")
    .option("-n, --namespace <name>", "only in this namespace")
    .option("-e, --exec <id>", "of another process, by its exec id")
    .option("-f, --follow", "follow new output until the process ends")
    .option("--tail <lines>", "only this many from the end", parseCount)
    .option("--timestamps", "prefix each line with the time of its record")
    .action(async (word, options: LogsOptions) => {
      const { shim, id } = findTarget(findShims(), word, { namespace: options.namespace });
      using connection = await connectShim(shim);
      const process = { id, execId: options.exec ?? "" };
      const place = await findLog(connection, process, shim.root);
      const print = ({ at, text }: LogPiece) =>
        context.output.print(options.timestamps && at !== "" ? `${at} ${text}` : text);
      await show(place, options, print, () => untilEnd(connection, process));
    });
}

function parseCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 0) return count;
  throw usageError(`Bad --tail: ${text}; give a number of lines`);
}

/** Throws a Refusal that says where the output goes if that is not a file. */
async function findLog(
  { task }: ShimConnection,
  process: { readonly id: string; readonly execId: string },
  root: string,
): Promise<LogPlace> {
  let stdout: string;
  try {
    ({ stdout } = await task.state(process, { timeoutMs: ANSWER_TIMEOUT_MS }));
  } catch (error) {
    throw callFailure(`Cannot find the log of ${process.id}`, error);
  }
  if (!stdout.startsWith("file:")) {
    const where = stdout === "" ? "is discarded" : `goes to ${stdout}, to be read by its manager`;
    throw usageError(
      `The output of ${process.id} goes to no file: it ${where}; use the manager's own command for logs`,
    );
  }
  const url = new URL(stdout);
  const form = url.searchParams.get("format");
  return {
    path: root + decodeURIComponent(url.pathname),
    form: form === "cri" || form === "json" ? form : "raw",
  };
}

/** Resolves when the process has ended. */
async function untilEnd(
  { task }: ShimConnection,
  process: { readonly id: string; readonly execId: string },
): Promise<void> {
  try {
    await task.wait(process);
  } catch {
    // The shim has ended, and its containers with it.
  }
}

async function show(
  { path, form }: LogPlace,
  { tail, follow }: LogsOptions,
  print: (piece: LogPiece) => void,
  untilProcessEnds: () => Promise<void>,
): Promise<void> {
  using reader = openLog(path);
  const kept: string[] = [];
  for (const line of readAll(path, reader)) {
    kept.push(line);
    if (tail !== undefined && kept.length > tail) kept.shift();
    if (tail === undefined) print(parseLogLine(kept.shift() ?? "", form));
  }
  for (const line of kept) print(parseLogLine(line, form));
  if (follow) await followLog(reader, form, print, untilProcessEnds());
  if (reader.rest !== "") print({ ...parseLogLine(reader.rest, form), text: reader.rest });
}

function* readAll(path: string, current: LogReader): Generator<string> {
  for (const aside of asideFiles(path)) {
    using reader = openLog(aside);
    yield* reader.lines();
  }
  yield* current.lines();
}

async function followLog(
  reader: LogReader,
  form: LogForm,
  print: (piece: LogPiece) => void,
  ended: Promise<void>,
): Promise<void> {
  let hasEnded = false;
  const stop = Promise.withResolvers<void>();
  void ended.then(stop.resolve);
  process.on("SIGINT", stop.resolve).on("SIGTERM", stop.resolve);
  try {
    while (!hasEnded) {
      hasEnded = await Promise.race([
        stop.promise.then(() => true),
        Bun.sleep(LOOK_MS).then(() => false),
      ]);
      for (const line of reader.lines()) print(parseLogLine(line, form));
    }
  } finally {
    process.off("SIGINT", stop.resolve).off("SIGTERM", stop.resolve);
  }
}

function openLog(path: string): LogReader {
  try {
    return new LogReader(path);
  } catch (cause) {
    throw new Refusal(EXIT_FAILURE, `Cannot read the log: ${messageOf(cause)}`, { cause });
  }
}
