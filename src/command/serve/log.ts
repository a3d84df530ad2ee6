/**
 * The daemon's log: pino, over a sink that never blocks.
 *
 * pino takes longer to load than the daemon takes to start, and a shim that has nothing to say never
 * needs it. So it is loaded some time after the first record; until then records wait in a bounded
 * buffer. A record carries the time at which it was made, not the one at which it is written.
 */

import type { Fields, Logger } from "../../base/log.ts";
import type { LogSink } from "../../linux/log-sink.ts";

type Level = "debug" | "info" | "warn" | "error";

interface LogRecord {
  readonly level: Level;
  readonly atMs: number;
  readonly message: string;
  readonly fields: Fields | undefined;
}

type Write = (record: LogRecord) => void;

/** Records kept until pino is loaded. */
const BUFFERED_RECORDS_MAX = 256;
/** Long enough for what is being started to have started. */
const LOAD_DELAY_MS = 50;

export interface DaemonLogOptions {
  readonly sink: LogSink;
  /** Include debug records, and the stacks of errors. */
  readonly isDebug: boolean;
  /** In every line: the shim's ids. */
  readonly fields: Fields;
  readonly loadDelayMs?: number;
}

/** The daemon's logger. Whoever ends the process calls {@link flush} first. */
export interface DaemonLog extends Logger {
  /** Loads pino now, at a moment that suits the caller. Never rejects. */
  load(): Promise<void>;
  /** Writes what still waits for pino, without pino. */
  flush(): void;
}

/** The line that tells how many records were dropped while nobody read the log. */
export function lostLine(count: number): string {
  const time = new Date().toISOString();
  return JSON.stringify({
    level: "warn",
    time,
    msg: `${count} lines of the log were dropped here`,
  });
}

/** Makes the logger; nothing is loaded before its first record. */
export function createLogger(options: DaemonLogOptions): DaemonLog {
  const waiting: LogRecord[] = [];
  let dropped = 0;
  let write: Write | undefined;
  let loading: Promise<void> | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const drain = (target: Write) => {
    for (const record of waiting.splice(0)) target(record);
    if (dropped > 0) options.sink.write(lostLine(dropped));
    dropped = 0;
  };
  const load = () => {
    clearTimeout(timer);
    loading ??= openPino(options).then((target) => {
      write = target;
      drain(target);
    });
    return loading;
  };
  const log = (level: Level, message: string, fields: Fields | undefined) => {
    const record: LogRecord = { level, atMs: Date.now(), message, fields };
    if (write !== undefined) return write(record);
    if (waiting.length < BUFFERED_RECORDS_MAX) waiting.push(record);
    else dropped++;
    timer ??= setTimeout(() => void load(), options.loadDelayMs ?? LOAD_DELAY_MS).unref();
  };
  return {
    debug: (message, fields) => {
      if (options.isDebug) log("debug", message, fields);
    },
    info: (message, fields) => log("info", message, fields),
    warn: (message, fields) => log("warn", message, fields),
    error: (message, fields) => log("error", message, fields),
    load,
    flush: () => {
      clearTimeout(timer);
      timer = undefined;
      drain(write ?? plainWriter(options));
    },
  };
}

async function openPino(options: DaemonLogOptions): Promise<Write> {
  try {
    const { pino } = await import("pino");
    let atMs = 0;
    const logger = pino(
      {
        level: options.isDebug ? "debug" : "info",
        base: { ...options.fields },
        timestamp: () => `,"time":"${new Date(atMs).toISOString()}"`,
        formatters: { level: (label) => ({ level: label }) },
      },
      { write: (line) => options.sink.write(line) },
    );
    return (record) => {
      // Read by `timestamp` within the same call.
      atMs = record.atMs;
      logger[record.level](plainFields(record.fields, options.isDebug), record.message);
    };
  } catch {
    return plainWriter(options); // The log must not depend on pino.
  }
}

/** The same lines in the same form, for when pino is not loaded yet, or not any more. */
function plainWriter(options: DaemonLogOptions): Write {
  return ({ level, atMs, message, fields }) => {
    const time = new Date(atMs).toISOString();
    const rest = plainFields(fields, options.isDebug);
    let line: string;
    try {
      line = JSON.stringify({ level, time, ...options.fields, ...rest, msg: message });
    } catch {
      line = JSON.stringify({ level, time, msg: message }); // A field that JSON cannot represent.
    }
    options.sink.write(line);
  };
}

/** Errors become text, with their causes; stacks only when debugging. */
function plainFields(fields: Fields | undefined, isDebug: boolean): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields ?? {}).map(([key, value]) => {
      if (value instanceof Error) return [key, errorText(value, isDebug)];
      return [key, typeof value === "bigint" ? String(value) : value];
    }),
  );
}

function errorText(error: Error, isDebug: boolean): string {
  const text = (isDebug && error.stack) || error.message;
  if (!(error.cause instanceof Error)) return text;
  const cause = errorText(error.cause, isDebug);
  // Most messages quote their cause already.
  return text.includes(cause) ? text : `${text}; caused by: ${cause}`;
}
